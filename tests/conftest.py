"""What every test shares: Hypothesis without deadlines, since machines are noisy and sanitizers slow.

Continuous integration draws the same examples each time; a run by hand looks further.
"""

import os

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("steady")
