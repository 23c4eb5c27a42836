"""Tests of the fan daemon on real fan-chip drivers, in a virtual machine (lab/vm), and the comparison there."""
