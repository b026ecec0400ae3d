"""The part of `python3 dev.py check` that is not about Python: workflows and shell scripts, offline."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent  # actionlint finds shellcheck there, too


def main() -> int:
    """Run all of them, even after a failure. Returns the exit code."""
    workflows = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    shell = sorted(map(str, [*(ROOT / "infra").glob("*.sh"), ROOT / ".ci" / "run"]))
    shellcheck = str(BIN / "shellcheck")
    runs = [
        [str(BIN / "zizmor"), "--offline", "--no-progress", "--quiet", str(ROOT / ".github")],
        [str(BIN / "actionlint"), "-shellcheck", shellcheck, *workflows],
        [shellcheck, *shell],
    ]
    codes = [subprocess.run(run, cwd=ROOT, check=False).returncode for run in runs]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    raise SystemExit(main())
