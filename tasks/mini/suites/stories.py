"""The templates of GSM8K's word problems: settings, their events in sentences, and the words that fill them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NAMES = (
    "Tom Anna Ben Mia Sam Lily Jack Emma Max Zoe Leo Ruby Carl Nina Paul Rosa Adam Ivy Omar Lena Hugo Tara Finn Maya"
).split()  # fmt: skip
THINGS = (
    "apples pens cards books eggs coins stamps shells marbles stickers oranges buttons beads cookies flowers pencils"
).split()  # fmt: skip
CROWDS = (
    ("people", "bus"),
    ("birds", "tree"),
    ("students", "club"),
    ("ducks", "pond"),
    ("cars", "garage"),
    ("sheep", "field"),
    ("guests", "hotel"),
    ("fish", "tank"),
)
PRODUCTS = (
    ("bakery", "loaves"),
    ("farm", "pumpkins"),
    ("factory", "toys"),
    ("workshop", "chairs"),
    ("mill", "bags"),
    ("studio", "vases"),
)


@dataclass(frozen=True)
class Event:
    """One change of the quantity.

    Placeholders: {x} the number of the event, {n} who it is about, {m} another person, {o} the
    things counted, {p} the place, {e} the worked step.
    """

    operation: str
    text: str
    solution: str


@dataclass(frozen=True)
class Setting:
    """A kind of story: how it starts, what may happen, what is asked."""

    starts: tuple[str, ...]
    events: tuple[Event, ...]
    questions: tuple[str, ...]


SETTINGS: Mapping[str, Setting] = {
    "things": Setting(
        (
            "{n} has {x} {o}.",
            "{n} owns {x} {o}.",
            "There are {x} {o} in the box of {n}.",
            "{n} starts with {x} {o}.",
        ),
        (
            Event("+", "{n} buys {x} more.", "{n} has {e} {o}."),
            Event("+", "{m} gives {n} {x} more {o}.", "With the gift {n} has {e} {o}."),
            Event("+", "{n} finds {x} more {o} at home.", "Now there are {e} {o}."),
            Event("-", "{n} gives {x} of them to {m}.", "{n} is left with {e} {o}."),
            Event("-", "{n} loses {x} {o}.", "{n} still has {e} {o}."),
            Event("-", "Then {m} takes {x} of the {o}.", "There are {e} {o} left."),
            Event("*", "{n} trades each of them for {x} new {o}.", "{n} has {e} {o}."),
            Event("*", "{m} makes the number of {o} {x} times as large.", "That makes {e} {o}."),
            Event("*", "Soon {n} has {x} times as many {o}.", "Then there are {e} {o}."),
            Event("/", "{n} splits them into {x} equal piles and keeps one.", "A pile has {e} {o}."),
            Event("/", "{n} shares them equally with {x} people in all.", "Each has {e} {o}."),
            Event("/", "{n} keeps one of every {x} {o}.", "{n} keeps {e} {o}."),
        ),
        ("How many {o} does {n} have now?", "How many {o} does {n} have in the end?"),
    ),
    "money": Setting(
        (
            "{n} has {x} dollars.",
            "{n} saved {x} dollars.",
            "{n} has a purse with {x} dollars.",
        ),
        (
            Event("+", "{n} earns {x} dollars.", "{n} has {e} dollars."),
            Event("+", "{m} pays {n} {x} dollars.", "With the pay it is {e} dollars."),
            Event("+", "{n} gets {x} dollars for a birthday.", "Now {n} has {e} dollars."),
            Event("-", "{n} spends {x} dollars on {o}.", "{n} has {e} dollars left."),
            Event("-", "{n} lends {m} {x} dollars.", "That leaves {e} dollars."),
            Event("-", "A book costs {n} {x} dollars.", "After it {n} has {e} dollars."),
            Event("*", "A good trade turns it into {x} times as much.", "It is now {e} dollars."),
            Event("*", "{n} saves the same sum for {x} weeks.", "Together it is {e} dollars."),
            Event("/", "{n} divides it equally among {x} jars and opens one.", "A jar has {e} dollars."),
            Event("/", "{n} may keep only one part of {x}.", "{n} keeps {e} dollars."),
        ),
        ("How many dollars does {n} have now?", "How much money does {n} have?"),
    ),
    "crowd": Setting(
        (
            "There are {x} {o} in the {p}.",
            "A {p} has {x} {o}.",
            "{n} counts {x} {o} in a {p}.",
        ),
        (
            Event("+", "Then {x} more {o} come.", "There are {e} {o}."),
            Event("+", "{n} brings {x} {o}.", "With these there are {e} {o}."),
            Event("-", "Then {x} {o} leave.", "There are {e} {o} left."),
            Event("-", "{n} moves {x} {o} away.", "So {e} {o} stay."),
            Event("*", "The next day {x} times as many {o} are there.", "That day there are {e} {o}."),
            Event("*", "Each of the {o} is replaced by {x}.", "That gives {e} {o}."),
            Event("/", "The {o} form {x} equal groups and one group stays.", "A group has {e} {o}."),
            Event("/", "Only one of every {x} {o} stays.", "There are {e} {o} left."),
        ),
        ("How many {o} are in the {p} now?", "How many {o} are there in the end?"),
    ),
    "products": Setting(
        (
            "A {p} makes {x} {o} a day.",
            "{n} works at a {p} that has {x} {o}.",
            "The {p} of {n} has {x} {o}.",
        ),
        (
            Event("+", "It makes {x} more {o}.", "The {p} has {e} {o}."),
            Event("+", "Then {x} {o} come from another {p}.", "In all it has {e} {o}."),
            Event("-", "It sells {x} {o}.", "It has {e} {o} left."),
            Event("-", "{x} {o} are bad and thrown away.", "That leaves {e} good {o}."),
            Event("*", "It does so for {x} days.", "In these days it has {e} {o}."),
            Event("*", "With a new machine it has {x} times as many.", "It has {e} {o}."),
            Event("/", "The {o} are put equally on {x} shelves and one is kept.", "A shelf has {e} {o}."),
            Event("/", "It keeps only one of every {x} {o}.", "It keeps {e} {o}."),
        ),
        ("How many {o} does the {p} have now?", "How many {o} are left at the {p}?"),
    ),
}  # fmt: skip


def _wordings() -> dict[Event, int]:
    seen: dict[str, int] = dict.fromkeys("+-*/", 0)
    index: dict[Event, int] = {}
    for setting in SETTINGS.values():
        for event in setting.events:
            index[event] = seen[event.operation]
            seen[event.operation] += 1
    return index


WORDING = _wordings()
WORDINGS = {op: 1 + max(i for e, i in WORDING.items() if e.operation == op) for op in "+-*/"}
