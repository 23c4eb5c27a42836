"""STAND-IN for blowers: every tacho follows its channel's duty, linear to 3000 RPM, still below 15 %.

Replaces: fans on the headers of lab.sysfs's chip.
Does not prove: that a real fan turns, starts, lags or reads like this.
Runs inside the container until it is killed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

CHIP = Path("/srv/fan/sys/devices/platform/nct6775.656/hwmon/hwmon3")
TURNING = (1, 2)

while True:
    for number in TURNING:
        text = (CHIP / f"pwm{number}").read_text().strip()
        mode = (CHIP / f"pwm{number}_enable").read_text().strip()
        duty = 255 if mode == "0" else int(text or 0)
        rpm = round(3000 * duty / 255) if duty >= 38 else 0
        # In place and of one length: a reader of sysfs never meets an empty file between truncation and write.
        tacho = os.open(CHIP / f"fan{number}_input", os.O_WRONLY)
        os.pwrite(tacho, f"{rpm:<5}\n".encode(), 0)
        os.close(tacho)
    time.sleep(0.05)
