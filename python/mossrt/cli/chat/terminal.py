"""A conversation with a person at a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from mossrt.cli.chat import slash
from mossrt.cli.chat.keys import unseen_keys
from mossrt.cli.chat.piped import stats_line
from mossrt.cli.chat.prompt import Lines, Prompt
from mossrt.cli.chat.render import SHADES, Renderer
from mossrt.cli.chat.screen import Screen
from mossrt.cli.chat.setup import Setup
from mossrt.cli.chat.talk import Talk
from mossrt.cli.chat.turns import Begin, play
from mossrt.cli.common import human_count
from mossrt.errors import Error


class Terminal:
    """Reads messages and commands until the end of the input."""

    def __init__(
        self, setup: Setup, talk: Talk, screen: Screen, renderer: Renderer, stats: bool = False
    ) -> None:
        self.setup = setup
        self.talk = talk
        self.screen = screen
        self.renderer = renderer
        self.stats = stats
        self.file: Path | None = None
        self.first_meta = setup.meta
        self._draft = ""
        self._editing = False

    def run(self) -> None:
        """Until Ctrl-D or /exit."""
        self._greet()
        if self.file is not None:
            self.show_last()
            self.screen.tell("\n")
        seen = sys.stdout.isatty() or sys.stderr.isatty()
        prompt = Prompt(list(slash.COMMANDS), self.note, self.screen.colours) if seen else Lines()
        with unseen_keys():
            self._converse(prompt)

    def _converse(self, prompt: Prompt | Lines) -> None:
        while True:
            draft, self._draft = self._draft, ""
            try:
                text = prompt.read(draft)
                self.screen.moved()
                if self._obey(text):
                    return
            except EOFError:
                return
            except KeyboardInterrupt:
                self.note("Ctrl-D ends" if not self._editing else "nothing was changed")
                self._editing = False
            except (Error, ValueError, OSError) as error:
                self.screen.error(str(error))
            except MemoryError as error:
                self.screen.error(str(error) or "not enough memory")
            if not self._draft:
                self.screen.tell("\n")

    def _obey(self, text: str) -> bool:
        if not text.strip():
            self._editing = False
            return False
        if text.startswith("/") and not text.startswith("//"):
            self._editing = False
            return slash.run(self, text.strip())
        message = text[1:] if text.startswith("//") else text
        if self._editing:
            self._editing = False
            self.play(lambda monitor: self.talk.again(message, monitor=monitor), anew=True)
        else:
            self.play(lambda monitor: self.talk.stream(message, monitor=monitor))
        return False

    def play(self, begin: Begin, anew: bool = False) -> None:
        """A turn, shown as it happens; anew: in the place of the last one."""
        play(self.talk, begin, self.renderer, anew)
        if self.stats:
            self.note(stats_line(self.talk.stats))

    def say(self, text: str) -> None:
        """Lines that were asked for."""
        self.screen.fresh_line()
        self.screen.tell(text + "\n")

    def note(self, text: str) -> None:
        """A line beside."""
        if text:
            self.screen.note(text)

    def edit(self, text: str) -> None:
        """The next prompt holds a message that replaces the last one."""
        self._draft, self._editing = text if text[:1] != "/" else f"/{text}", True

    def load(self, path: Path) -> None:
        """Goes on with a saved conversation in place of this one."""
        self._replace(self.setup.load(path))
        self.file = path
        self.show_last()

    def show_last(self) -> None:
        """Where a loaded conversation stands."""
        turn = self.talk.turn
        count = slash.counted(self.talk.info["turns"])
        self.note(f"{count}, the last one:" if turn else count)
        if turn is not None:
            self.note(f"> {turn.human}")
            self.say(turn.answer)

    def renew(self, meta: str | None) -> None:
        """A new conversation with another meta instruction."""
        before, self.setup.meta = self.setup.meta, meta
        try:
            talk = self.setup.open()
        except BaseException:
            self.setup.meta = before
            raise
        self._replace(talk)
        self.note("a new conversation with this meta instruction")

    def _replace(self, talk: Talk) -> None:
        self.talk.close()
        self.talk = talk

    def switch_probabilities(self) -> None:
        """On, with what the colours mean, or off."""
        if not self.screen.colours:
            raise ValueError("there are no colours here (no terminal, NO_COLOR or TERM=dumb)")
        self.renderer.probabilities = not self.renderer.probabilities
        if not self.renderer.probabilities:
            self.note("probabilities are no longer shown")
            return
        self.screen.tell("probabilities are shown: ")
        for least, style in SHADES:
            self.screen.tell(f"{100 * least:.0f} % and more  " if least else "less", style)
        self.screen.fresh_line()

    def _greet(self) -> None:
        info, model = self.talk.info, self.talk.model.info
        plugins = ", ".join(info["plugins"]) or "none"
        self.note(
            f"{model['architecture']}, {human_count(model['parameters'])} parameters, "
            f"{model['dtype']}\n"
            f"profile: {info['profile'] or 'none, texts are continued'}; plugins: {plugins}"
        )
        for text in info["meta"]["notes"]:
            self.note(f"note: {text}")
        self.note("/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends.")
        self.screen.tell("\n")
