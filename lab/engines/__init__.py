"""The lab's engines: real llama-server of Debian unstable on CPU and on Vulkan (llvmpipe), and small real models."""
