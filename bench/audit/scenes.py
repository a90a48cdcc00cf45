"""What the audit is measured by: a minute of traffic each."""

from dataclasses import replace

from bench.audit.shop import Scene

FULL = Scene("100 %")
ROUGH = replace(FULL, name="rough", rough=True)
BUSY = replace(FULL, services=7, jobs=0)
SCENES = (
    FULL,
    replace(FULL, name="10 %", sampling=0.1),
    replace(FULL, name="1 %", sampling=0.01),
    replace(FULL, name="100 %, ids of half", ids=0.5),
    replace(FULL, name="100 %, ids of all", ids=1.0),
    replace(FULL, name="10 %, ids of half", ids=0.5, sampling=0.1),
    replace(FULL, name="10 %, ids of all", ids=1.0, sampling=0.1),
    replace(FULL, name="1 %, ids of half", ids=0.5, sampling=0.01),
    replace(FULL, name="1 %, ids of all", ids=1.0, sampling=0.01),
    replace(BUSY, name="busy, 5 % cut", busy=0.05),
    replace(BUSY, name="busy, 20 % cut", busy=0.2),
    replace(BUSY, name="busy, 100 % cut", busy=1.0),
    ROUGH,
    replace(ROUGH, name="none cut, rough", cutters=0),
    replace(ROUGH, name="none cut, rough, 10 %", cutters=0, sampling=0.1),
)
