"""A card, its blower and its fan chip in virtual time: thermal model, stand-in sysfs, the rig that runs mi50-fand."""
