# SPDX-License-Identifier: GPL-2.0
"""Shows that the compile-fail cases can fail, with answers a compiler could give."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from holdfast import compile_fail

FILE = Path("/somewhere/tests/compile-fail/access.rs")

CASE = """\
// SPDX-License-Identifier: GPL-2.0

//! The guard cannot be kept.
//!
//! Promise 3: access is fenced.

fn keep() {
    let kept = object.access(|access| access); //~ E0521
}
"""

TEXT = """\
error[E0521]: borrowed data escapes outside of closure
  --> /somewhere/tests/compile-fail/access.rs:8:20
   |
LL |     let kept = object.access(|access| access); //~ E0521
   |
  ::: /somewhere/rust/holdfast/object.rs:700:8
"""


def _span(file: Path, line: int, expansion: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "file_name": str(file),
        "line_start": line,
        "is_primary": True,
        "expansion": expansion,
    }


def _message(code: str | None, *spans: dict[str, Any], level: str = "error") -> str:
    return json.dumps(
        {
            "message": "borrowed data escapes outside of closure",
            "level": level,
            "code": code and {"code": code},
            "spans": list(spans),
            "rendered": TEXT,
        }
    )


def _read(*messages: str) -> compile_fail.Answer:
    return compile_fail.read_answer("\n".join(messages), FILE, [("/somewhere", "$HOLDFAST")])


class CompileFail(unittest.TestCase):
    """One test for each way in which a case can fail."""

    def problems(
        self, answer: compile_fail.Answer, *, source: str = CASE, kept: str | None = None
    ) -> str:
        """Judge a case whose .stderr is what the compiler says, unless told otherwise."""
        text = answer.text if kept is None else kept
        return "\n".join(compile_fail.judge(source, answer, text, compare_text=True))

    def test_the_expected_error_passes(self) -> None:
        """The error, in its line, with the words that were kept."""
        self.assertEqual(self.problems(_read(_message("E0521", _span(FILE, 8)))), "")

    def test_a_case_that_compiles_fails(self) -> None:
        """Nothing said is the failure that matters most."""
        self.assertIn("it compiles, and must not", self.problems(_read()))

    def test_a_warning_is_not_an_error(self) -> None:
        """A case that compiles with a warning compiles."""
        answer = _read(_message("E0521", _span(FILE, 8), level="warning"))
        self.assertIn("it compiles, and must not", self.problems(answer))

    def test_another_error_fails(self) -> None:
        """Right line, other reason."""
        self.assertIn("E0433", self.problems(_read(_message("E0433", _span(FILE, 8)))))

    def test_another_line_fails(self) -> None:
        """Right reason, other line."""
        self.assertIn("in line 7", self.problems(_read(_message("E0521", _span(FILE, 7)))))

    def test_one_error_more_fails(self) -> None:
        """An error that nobody thought of can hide the one that the case is for."""
        answer = _read(_message("E0521", _span(FILE, 8)), _message(None, _span(FILE, 8)))
        self.assertIn("an error without a code in line 8", self.problems(answer))

    def test_other_words_fail_only_when_compared(self) -> None:
        """Compilers word things differently."""
        answer = _read(_message("E0521", _span(FILE, 8)))
        self.assertIn("does not say", self.problems(answer, kept="something else"))
        self.assertEqual(compile_fail.judge(CASE, answer, "other", compare_text=False), [])

    def test_a_missing_stderr_fails(self) -> None:
        """A new case is to be read."""
        answer = _read(_message("E0521", _span(FILE, 8)))
        self.assertIn("BLESS=1", "".join(compile_fail.judge(CASE, answer, None, compare_text=True)))

    def test_a_crash_of_the_compiler_fails(self) -> None:
        """What is no message is no error that was expected."""
        answer = _read(_message("E0521", _span(FILE, 8)), "error: the compiler panicked")
        self.assertIn("not-a-message", self.problems(answer))

    def test_a_case_says_what_it_shows(self) -> None:
        """The first lines are for who reads it."""
        answer = _read(_message("E0521", _span(FILE, 8)))
        self.assertIn("//!", self.problems(answer, source=CASE.replace("//!", "// ")))
        self.assertIn("promise", self.problems(answer, source=CASE.replace("Promise", "A rule")))

    def test_a_case_without_annotations_fails(self) -> None:
        """Any error would do for it."""
        answer = _read(_message("E0521", _span(FILE, 8)))
        self.assertIn("no annotation", self.problems(answer, source=CASE.replace("//~", "//")))

    def test_errors_in_macros_are_in_the_line_that_uses_them(self) -> None:
        """The place of a macro's definition moves when others change it."""
        inside = _span(Path("/somewhere/macros.rs"), 99, {"span": _span(FILE, 8)})
        self.assertEqual(_read(_message("E0521", inside)).errors, [(8, "E0521")])

    def test_a_file_that_must_compile_fails_on_any_error(self) -> None:
        """It tells a broken set-up from cases that fail."""
        answer = _read(_message("E0433", _span(FILE, 1)))
        self.assertIn("must compile", "".join(compile_fail.judge_pass(CASE, answer)))
        self.assertEqual(compile_fail.judge_pass(CASE, _read()), [])

    def test_paths_and_other_lines_are_left_out(self) -> None:
        """The line of the case stays."""
        text = _read(_message("E0521", _span(FILE, 8))).text
        self.assertIn("--> $DIR/access.rs:8:20\n", text)
        self.assertIn("::: $HOLDFAST/rust/holdfast/object.rs:LL:CC\n", text)

    def test_annotations(self) -> None:
        """Of the same line, of a line above, of another file, without a code."""
        source = "a //~ E0001\n//~^ E0002\nb\n\n//~^^ ERROR\n//~? E0080\n"
        found = [(1, "E0001"), (1, "E0002"), (3, ""), (None, "E0080")]
        self.assertEqual(compile_fail.annotations(source), found)


if __name__ == "__main__":
    unittest.main()
