import pytest
from hypothesis import given
from hypothesis import strategies as st

from fbsessiond.chance import Chance, SeededChance, choose, happens, new_identity, new_key, offshoot


class Highest:
    """Chance that always gives the most."""

    def between(self, least: float, most: float) -> float:
        """Return the upper bound, which is among what is possible."""
        return max(least, most)


def ten(chance: Chance) -> list[float]:
    """Return the next ten numbers."""
    return [chance.between(0, 1) for _ in range(10)]


@given(seed=st.none() | st.integers(), least=st.floats(-1e6, 1e6), width=st.floats(0, 1e6))
def test_between(seed: int | None, least: float, width: float) -> None:
    """A number lies between its bounds, the bounds included."""
    assert least <= SeededChance(seed).between(least, least + width) <= least + width


def test_seed() -> None:
    """The same seed gives the same numbers, another seed others."""
    assert ten(SeededChance(7)) == ten(SeededChance(7))
    assert ten(SeededChance(7)) != ten(SeededChance(8))


def test_without_seed() -> None:
    """Without a seed the numbers don't repeat."""
    assert ten(SeededChance()) != ten(SeededChance())


@pytest.mark.parametrize(
    ("probability", "least", "most"), [(0, 0, 0), (0.25, 200, 300), (0.75, 700, 800), (1, 1_000, 1_000)]
)
def test_happens(probability: float, least: int, most: int) -> None:
    """Something happens as often as its probability says: never with 0, always with 1."""
    chance = SeededChance(7)
    assert least <= sum(happens(chance, probability) for _ in range(1_000)) <= most


def test_happens_at_the_bound() -> None:
    """What is sure happens even with the highest number, and nothing less does."""
    assert happens(Highest(), 1)
    assert not happens(Highest(), 0.999)


def test_choose() -> None:
    """Each option is chosen about as often as any other."""
    chance = SeededChance(7)
    chosen = [choose(chance, "abc") for _ in range(3_000)]
    assert all(900 <= chosen.count(option) <= 1_100 for option in "abc")


def test_choose_at_the_bound() -> None:
    """The highest number chooses the last option."""
    assert choose(Highest(), "abc") == "c"


def test_offshoot() -> None:
    """An offshoot repeats itself as what it comes from does, and differs from the next one."""
    first, second = SeededChance(7), SeededChance(7)
    numbers = ten(offshoot(first))
    assert numbers == ten(offshoot(second))
    assert numbers != ten(offshoot(first))


def test_undisturbed_offshoot() -> None:
    """An offshoot isn't disturbed by who else asks what it comes from."""
    alone, disturbed = SeededChance(7), SeededChance(7)
    expected, offspring = ten(offshoot(alone)), offshoot(disturbed)
    ten(disturbed)
    assert ten(offspring) == expected


def test_identity() -> None:
    """An identity is 32 hexadecimal digits, and no other's."""
    identities = {new_identity() for _ in range(100)}
    assert len(identities) == 100
    assert all(len(identity) == 32 and bytes.fromhex(identity) for identity in identities)


def test_key() -> None:
    """A key is 32 bytes, and no other's."""
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {32}
