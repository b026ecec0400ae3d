"""`python3 dev.py doctor`: ask a deployed app what is wrong with it, and print what mends it.

    KEY=… python3 dev.py doctor --app https://certrelay.azurewebsites.net
    TOKEN=$(az account get-access-token --resource api://… --query accessToken -o tsv) python3 dev.py doctor --app …

The key or the token comes from the environment, where other users of the machine do not see it. Exit code: 0 if all is
well, 1 if there are findings, 2 if the app could not be asked.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

import httpx

SECONDS = 120
MEMBERS = ("what", "ok", "detail", "mend")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py doctor", description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else ""
    )
    parser.add_argument("--app", default=environment.get("APP", ""), help="URL of the app (default: the variable APP)")
    parser.add_argument("--all", action="store_true", help="print what is well, too")
    asked = parser.parse_args(arguments)
    if not asked.app.startswith(("https://", "http://127.0.0.1:")):
        print("doctor: --app must be the https URL of the app", file=sys.stderr)
        return 2
    headers = {"x-functions-key": environment["KEY"]} if environment.get("KEY") else {}
    headers |= {"authorization": f"Bearer {environment['TOKEN']}"} if environment.get("TOKEN") else {}
    try:
        answer = httpx.get(f"{asked.app.rstrip('/')}/api/doctor", headers=headers, timeout=SECONDS)
        found = [{name: one[name] for name in MEMBERS} for one in answer.raise_for_status().json()["findings"]]
    except httpx.HTTPStatusError as error:
        hint = " (is the variable KEY or TOKEN right?)" if error.response.status_code in (401, 403) else ""
        print(f"doctor: the app answered {error.response.status_code}{hint}", file=sys.stderr)
        return 2
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as error:  # or it is another app
        print(f"doctor: the app could not be asked ({type(error).__name__})", file=sys.stderr)
        return 2
    return _print(found, everything=asked.all)


def _print(found: Sequence[Mapping[str, object]], *, everything: bool) -> int:
    wrong = [finding for finding in found if not finding["ok"]]
    for finding in found if everything else wrong:
        print(f"{'well ' if finding['ok'] else 'WRONG'}  {finding['what']}: {finding['detail']}")
        if finding["mend"]:
            print(f"       {finding['mend']}")
    print(f"{len(wrong)} of {len(found)} findings are wrong" if wrong else f"all {len(found)} findings are well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
