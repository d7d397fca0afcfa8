"""The command line: the library's verbs. Exit codes: 0 done, 1 some images failed, 2 bad usage or input, 3 a model, device or
package that is missing or does not work, 130 cancelled."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from meetmid.errors import DeviceError, MeetmidError, ModelError

DONE, SOME_FAILED, BAD_INPUT, ENVIRONMENT, CANCELLED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from meetmid.cli.parser import build_parser

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be no Unicode
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except (ModelError, DeviceError) as error:
        print(f"meetmid: {error}", file=sys.stderr)
        return ENVIRONMENT
    except MeetmidError as error:
        print(f"meetmid: {error}", file=sys.stderr)
        return ENVIRONMENT if isinstance(error.__cause__, ImportError) else BAD_INPUT  # an optional package is missing
    except OSError as error:
        print(f"meetmid: {error}", file=sys.stderr)
        return BAD_INPUT
    except ImportError as error:
        print(f"meetmid: the installation is incomplete ({error}); run `meetmid doctor`", file=sys.stderr)
        return ENVIRONMENT
    except KeyboardInterrupt:
        print("meetmid: cancelled", file=sys.stderr)
        return CANCELLED
