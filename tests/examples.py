"""How many examples hypothesis tries."""

from hypothesis import settings


def examples(number: int) -> int:
    """All with `--soak`, new ones each time; else a quarter, the same in every run."""
    return number if settings.get_current_profile_name() == "soak" else number // 4
