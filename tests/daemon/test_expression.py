# pyright: reportPrivateUsage=false
from typing import Any

import pytest

from fbsessiond import expression, limits
from fbsessiond.expression import VALUE_CHARACTERS, Expression, ExpressionError, compiled

LONG = {"LONG": "x" * 1000, "FITS": "x" * (VALUE_CHARACTERS - 2)}
HUGE = {"HUGE": 2**70, "HUGER": 2 * 10**308, "TINIER": -(10**400), "EXACT": 2**53 + 1}
VARIABLES: dict[str, Any] = {
    "session": {"id": "S1", "others": {"deep": ["x", -(2**63) - 1]}},
    "before": "Chatting",
    "after": "LeftChat",
    "user_data": {"KEY": "a\nb", "NUMBER": 5, "NONE": None, "NAME": "Zoë", **LONG, **HUGE},
    "participants": [{"type": "Customer"}],
    "capabilities": ["Leave"],
    "agent": "agent1",
    "origin": "live",
}


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("user_data.NUMBER == 5", True),
        ("user_data.NUMBER == 5.0", True),
        ('user_data.NUMBER == "5"', False),
        ('string(user_data.NUMBER) == "5"', True),
        ("user_data.NONE == null", True),
        ("user_data.HUGE > 5 && user_data.HUGER > user_data.HUGE && session.others.deep[1] < -5", True),
        ("user_data.TINIER < -5 && user_data.TINIER < session.others.deep[1]", True),
        ("user_data.HUGE > 5 && string(user_data.EXACT) == '9007199254740993'", True),
        ("true".ljust(limits.EXPRESSION_CHARACTERS), True),
        ("has(user_data.NOTHING) && user_data.NOTHING == 5", False),
        ("user_data.NOTHING == 5 || true", True),
        ('user_data["KEY"].matches("^a")', True),
        ("session.others.deep[0] == 'x'", True),
        ('participants.all(one, one.type == "Customer") && "Leave" in capabilities', True),
    ],
)
def test_truth(text: str, truth: bool) -> None:
    """An expression is true or false, as CEL defines it; attached data is compared with its own type."""
    assert Expression(text).holds(VARIABLES) is truth


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("before ==", "column 10: Syntax error: mismatched input '<EOF>'"),
        ("before == 1", "column 8: found no matching overload for '_==_' applied to '(string, int)'"),
        ("true &&\n befor", "line 2, column 2: undeclared reference to 'befor'"),
        ("before", "should be true or false, and is of the type string"),
        ("capabilities.exists(one, one == 1)", "column 30: found no matching overload"),
        ("(" * 300 + "true" + ")" * 300, "Expression recursion limit exceeded"),
        ("true".ljust(limits.EXPRESSION_CHARACTERS + 1), "should have 4,000 characters at most"),
        ("", "column 1: Syntax error"),
    ],
)
def test_mistakes(text: str, mistake: str) -> None:
    """An expression that means nothing is refused when it is read, with the place of the mistake."""
    with pytest.raises(ExpressionError) as refused:
        Expression(text)
    assert str(refused.value).startswith(mistake)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("user_data.NOTHING == 5", 'Key not found in map : "NOTHING"'),
        ('user_data.NUMBER > "a"', "No matching overloads found"),
        ("user_data.NUMBER", "is neither true nor false, but 5"),
        ('dyn(duration("1s"))', 'is neither true nor false, but "0:00:01"'),
        ('user_data.KEY.matches("(")', "invalid regular expression"),
    ],
)
def test_undecided(text: str, problem: str) -> None:
    """What can't be evaluated for a session says why."""
    with pytest.raises(ExpressionError) as undecided:
        Expression(text).holds(VARIABLES)
    assert problem in str(undecided.value)


def test_what_the_library_refuses() -> None:
    """A value that the library can't take at all makes the expression undecided, and raises nothing else."""
    with pytest.raises(ExpressionError):
        Expression('before == "x"').holds({**VARIABLES, "before": object()})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("true", ""),
        ('user_data["KEY"] == "b"', r'user_data["KEY"] is "a\nb"'),
        ("user_data.NUMBER > 7 && before != after", 'user_data.NUMBER is 5, before is "Chatting", after is "LeftChat"'),
        ('user_data.KEY.startsWith("b")', r'user_data.KEY is "a\nb"'),
        ("user_data.NOTHING == 5", "user_data.NOTHING is not there"),
        ('agent == "before" || agent == \'it "is" after\'', 'agent is "agent1"'),
        ("session.others.deep[0] == 'y'", 'session.others.deep[0] is "x"'),
        ('participants.exists(one, one.type == "Agent")', 'participants is [{"type": "Customer"}]'),
        ('user_data.NAME == ""', 'user_data.NAME is "Zoë"'),
        ('user_data.FITS == ""', f'user_data.FITS is "{"x" * (VALUE_CHARACTERS - 2)}"'),
        ('user_data.LONG == ""', f'user_data.LONG is "{"x" * (VALUE_CHARACTERS - 1)}…'),
    ],
)
def test_values(text: str, values: str) -> None:
    """The values that stood in an expression are told, on one line, and no more of them than a person can read."""
    assert Expression(text).values(VARIABLES) == values


def test_compiled_once() -> None:
    """An expression is compiled once, however often it is read."""
    assert compiled("true && true") is compiled("true && true")


def test_environment() -> None:
    """What an expression can look at is declared once for all, with its types."""
    expression._environment.cache_clear()
    text = 'size(capabilities) == 1 && size(user_data) > 1 && session.id == "S1" && participants[0].type == "Customer"'
    assert Expression(text).holds(VARIABLES)


class Failing:
    """A program that the library fails to evaluate."""

    def eval(self, **_: object) -> object:
        """Fail with a status and several lines."""
        raise RuntimeError("INTERNAL: no room\nat all\n")


def test_undecided_on_its_own() -> None:
    """What the library reports as an error is told without its status, on one line."""
    with pytest.raises(ExpressionError, match=r"^Key not found"):
        expression._value(expression._compiled("user_data.NOTHING"), VARIABLES)
    with pytest.raises(ExpressionError, match=r"^no room$"):
        expression._value(Failing(), VARIABLES)
    assert expression._mistake("INTERNAL: no room\nat all\n") == "no room"
