"""What every test shares: Hypothesis without deadlines, since machines are noisy and sanitizers slow."""

from hypothesis import settings

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
