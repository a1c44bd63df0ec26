"""What the demo puts on sale."""

from __future__ import annotations

from forebay.apps.sale.domain import Section, SectionKind

#: The event of the demo.
EVENT = "gala"


def divide_seats(seats: int, sections: int) -> list[Section]:
    """Sections of about equal capacity, by turns reserved and general admission."""
    capacity, over = divmod(seats, sections)
    kinds = (SectionKind.RESERVED, SectionKind.GENERAL)
    return [
        Section(EVENT, f"section-{number + 1}", kinds[number % 2], capacity + (number < over))
        for number in range(sections)
    ]
