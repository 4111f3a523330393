"""The text of the embedded documents: seeded, and never shared between splits.

Every name, company, street, dish, article, code and line of text belongs to exactly one split, which is read off a
checksum of its characters. A generator draws until it meets a string of its own split, so that nothing of the test
split can occur in training, however many documents are drawn, and no list of them has to be kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from benchmark import Split, UserError

Random = np.random.Generator
Option = TypeVar("Option")

COMMON = tuple(
    """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which
one you were her all she there would their we him been has when who will more no if out so said what up its
about into than them can only other new some could time these two may then do first any my now such like our
over man me even most made after also did many before must through back years where much your way well down
should because each just those people mister how too little state good very make world still own see men work
long get here between both life being under never day same another know while last might us great old year off
come since against go came right used take three states himself few house use during without again place around
however home small found thought went say part once general high upon school every does got united left number
course war until always away something fact though water less public put think almost hand enough far took head
yet government system better set told nothing night end why called find going look asked later knew point next
program city business give group toward young days let room side social given present several order national
possible rather second face per among form important often things looked early white case large need big four
within felt children along saw best church ever least power development light thing seemed family interest want
members mind country area others done turned although open god service certain kind problem began different door
thus help sense means whole matter garden winter summer letter paper morning evening window river mountain
bridge market street station village corner engine signal answer question travel carry deliver receive package
weight value price total amount change receipt table kitchen coffee butter bread sugar pepper orange apple lemon
cherry onion garlic tomato potato carrot chicken turkey salmon rabbit silver golden copper iron stone glass
cotton linen wool leather velvet timber maple cedar willow forest meadow valley island harbour ocean desert
thunder lightning rainbow shadow mirror candle lantern hammer needle ladder basket bottle pocket button ribbon
jacket quick quiet quite queen quarter zero zone size lazy crazy prize jazz fuzzy jump joke enjoy major object
subject expect exact example extra box six mix fix tax wax very above below behind beyond beside across inside
outside nearly hardly simple gentle humble noble famous nervous curious serious various precious previous
obvious vast vivid brave grave""".split()
)
_OPENINGS = "b c d f g h j k l m n p r s t v w z br cr dr fr gr kr pr tr st sl sh ch th bl cl fl".split()
_VOWELS = "a e i o u ai ea ou ie oa".split()
_CLOSINGS = "n r l s t m d k nd rt ls st ng x ck".split()
_TITLES = "Ltd Inc Bros Sons Group Trading Store Supply Foods Market".split()
_STREETS = "St Rd Ave Lane Way Sq Row Hill Park".split()
_DISHES = "TEA PIE SOUP SALAD ROLL STEW CAKE RICE TOAST BUN WRAP BOWL CURRY TACO LATTE JUICE STEAK PASTA".split()
_ARTICLES = "shirt shoes lamp phone case book toy clock cable watch scarf mug bag drill brush socks chair tent".split()
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
PUNCTUATION = ".,:-/&'+#()$%"

_DRAWS = 10_000


def split_of(text: str) -> Split:
    """The split that a string belongs to, whatever its case: 80 in 100 train, 10 validation, 10 test."""
    share = zlib.crc32(text.lower().encode()) % 100
    return "train" if share < 80 else "validation" if share < 90 else "test"


def choice(random: Random, options: Sequence[Option]) -> Option:
    return options[int(random.integers(len(options)))]


class Writer:
    """Draws strings that belong to one split, each at most `longest` characters."""

    def __init__(self, random: Random, split: Split) -> None:
        self.random = random
        self.split = split

    def draw(self, make: Callable[[], str], longest: int) -> str:
        for _ in range(_DRAWS):
            text = make()
            if len(text) <= longest and split_of(text) == self.split:
                return text
        raise UserError(f"no {self.split} text of at most {longest} characters can be drawn: the page is too narrow")

    def _number(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high))

    def _digits(self, count: int) -> str:
        return "".join(str(digit) for digit in self.random.integers(0, 10, count))

    def invented(self, longest: int = 9) -> str:
        """A pronounceable word that no dictionary has."""

        def make() -> str:
            syllables = [
                choice(self.random, _OPENINGS) + choice(self.random, _VOWELS) for _ in range(self._number(1, 3))
            ]
            return ("".join(syllables) + choice(self.random, _CLOSINGS)).capitalize()

        return self.draw(make, longest)

    def name(self, longest: int) -> str:
        """A first name and a surname, both of this split."""
        return self.draw(lambda: f"{self.invented(7)} {self.invented(9)}", longest)

    def company(self, longest: int) -> str:
        return self.draw(lambda: f"{self.invented(9)} {choice(self.random, _TITLES)}", longest)

    def street(self, longest: int) -> str:
        """A number, a street and a town."""
        return self.draw(
            lambda: f"{self._number(1, 200)} {self.invented(7)} {choice(self.random, _STREETS)}, {self.invented(7)}",
            longest,
        )

    def phone(self) -> str:
        return f"{self._digits(3)}-{self._digits(4)}"

    def dish(self, longest: int) -> str:
        def make() -> str:
            first = choice(self.random, COMMON) if self.random.random() < 0.5 else self.invented(8)
            return f"{first} {choice(self.random, _DISHES)}".upper()

        return self.draw(make, longest)

    def article(self, longest: int) -> str:
        def make() -> str:
            first = choice(self.random, COMMON) if self.random.random() < 0.5 else self.invented(8)
            return f"{first} {choice(self.random, _ARTICLES)}".lower()

        return self.draw(make, longest)

    def code(self, longest: int) -> str:
        """Random characters: what no language model can guess."""
        signs = ALPHABET + PUNCTUATION

        def make() -> str:
            groups = [
                "".join(choice(self.random, signs) for _ in range(self._number(2, 8)))
                for _ in range(self._number(1, 6))
            ]
            return " ".join(groups)[:longest].strip()

        return self.draw(make, longest)

    def sentence(self, longest: int) -> str:
        """Common words, cut to `longest` characters at a word's end."""

        def make() -> str:
            words: list[str] = []
            while len(" ".join(words)) < longest:
                words.append(choice(self.random, COMMON))
            text = " ".join(words[:-1]) or words[0]
            style = self.random.random()
            return text.upper() if style < 0.25 else text.capitalize() + "." if style < 0.5 else text

        return self.draw(make, longest)


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
