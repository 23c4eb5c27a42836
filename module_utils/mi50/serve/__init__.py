"""The serving contract: what every engine of a node has in common, whatever program answers the requests.

`model` says what a service is, `checks` what must hold before anything changes, `unit` renders it, `ready` proves that
the model answers on the GPU, `switch` keeps the version that answered last and restores it, `question` tells cheaply
whether anything is left to do, `health` runs on the node from a timer. An engine is one module that turns its options
into a `model.Service` (`engines` lists them).
"""
