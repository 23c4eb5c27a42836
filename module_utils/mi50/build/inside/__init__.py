"""What runs inside the unit of a build, as its unprivileged user. Copied into the build's folder, so it imports nothing
but the standard library and itself; Python 3.9.
"""
