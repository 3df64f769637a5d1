"""``llpf``: the sub-commands, and the one place where errors become messages and exit codes.

``llpf-merge``, ``llpf-order`` and ``llpf-report`` are ``llpf merge``, ``llpf order`` and ``llpf report``. Commands are
imported when they are called, and torch only when they do their work, so that ``--help`` is quick.
"""

import sys
from pathlib import Path

from cyclopts import App, CycloptsError

from llpf_cli.config import with_config
from llpf_cli.ctrl_c import noticed
from llpf_cli.earlier import rewritten
from llpf_cli.hub import fetched
from llpf_cli.parsing import Options
from llpf_cli.streams import be_quiet, fall_back, shorten_ignored
from llpf_cli.texts import EXIT_CODES, HELP, SYNOPSIS, epilogue, said
from llpf_plugin.documents import visible
from llpf_plugin.errors import InterruptedRun, LLPFError, RunError, UsageError
from llpf_plugin.ranks import Group, joined
from llpf_plugin.version import written_by

DONE, ERROR, USAGE, NOT_REACHED, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes of all commands: done or connected, error, wrong usage, goal not reached or the answer is no, Ctrl-C."""

BY_RANKS = ("merge", "compare", "origin")
"""Commands that several processes can do together, see `llpf_plugin.ranks`."""

app = App(
    name="llpf",
    help="Connect independently trained networks by paths of low training loss, and merge them along these paths.",
    help_epilogue=EXIT_CODES,
    help_format="markdown", version=written_by,
    suppress_keyboard_interrupt=False, result_action="return_value",
)  # fmt: skip
for _place, _name in enumerate(HELP):
    app.command(
        f"llpf_cli.{_name}:{_name}", name=_name, usage=f"Usage: llpf {_name} {SYNOPSIS[_name]}", help=HELP[_name],
        help_epilogue=epilogue(_name), sort_key=_place,
    )  # fmt: skip


def options_of(command: str) -> Options:
    """The options of a command; none where there is no such command."""
    return Options.of(app, command) if command in HELP else Options()


def _check_text(words: list[str]) -> None:
    """Refuse words that are no text: files keep the paths that they come from, and their libraries take UTF-8 alone.

    Raises:
        RunError: names the first of them.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise RunError(
                f"{word!r} is not UTF-8, as files of a run must be: rename it, or give a link to it"
            ) from error


def _check_ranks(group: Group, tokens: list[str]) -> None:
    """Refuse to do by several processes what one does.

    Raises:
        UsageError: names what several do.
    """
    if group.size > 1 and (not tokens or tokens[0] not in BY_RANKS):
        command = f"llpf {tokens[0]}" if tokens and tokens[0] in HELP else "this"
        raise UsageError(f"{command} runs in one process: leave torchrun out, which is for {', '.join(BY_RANKS)}")


def run() -> None:
    """The console scripts."""
    script = Path(sys.argv[0]).stem.removeprefix("llpf-")
    tokens = [script, *sys.argv[1:]] if script in HELP else sys.argv[1:]
    code, message, pressed = DONE, "", list[int]()
    fall_back()
    shorten_ignored()
    ranks = joined()
    try:
        with noticed() as pressed, ranks as group:
            if group.rank > 0:
                be_quiet()
            _check_text(sys.argv[1:])
            tokens = fetched(rewritten(with_config(tokens, options_of), options_of), "--trust" in tokens)
            _check_ranks(group, tokens)
            code = app(tokens, exit_on_error=False, print_error=False)
        if group.rank > 0 and code == NOT_REACHED:
            code = DONE  # rank 0 says so; torchrun ends it when it sees the code of another
    except CycloptsError as error:
        code, message = USAGE, f"{said(str(error))} (--help shows what there is)"
    except (InterruptedRun, KeyboardInterrupt) as stop:
        code, message = INTERRUPTED, str(stop) or "stopped"
    except UsageError as error:
        code, message = USAGE, str(error)
    except LLPFError as error:
        code, message = ERROR, str(error)
    except Exception:
        if not pressed:
            raise
        code, message = INTERRUPTED, "stopped"  # imports that Ctrl-C strikes in C raise something else
    if message and not ranks.silent:
        name = f"llpf {tokens[0]}" if tokens and tokens[0] in HELP else "llpf"
        print(visible(f"{name}: {message}"), file=sys.stderr)
    sys.exit(code if isinstance(code, int) else DONE)
