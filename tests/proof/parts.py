"""All parts of the proof, in the order in which they are run and told."""

from collections.abc import Sequence

from crashes.parts import PARTS as CRASHES
from fuzzing.parts import PARTS as FUZZING
from mutation.parts import PARTS as MUTATION
from proof.part import Part
from simulation.seeds import SEEDS

PARTS: Sequence[Part] = (SEEDS, *CRASHES, *FUZZING, *MUTATION)
