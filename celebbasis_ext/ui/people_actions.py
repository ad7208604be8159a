"""What the People page does with people, and how it words what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celebbasis_ext import people_actions
from celebbasis_ext.people_actions import finished
from celebbasis_ext.ui.markup import settings_text

if TYPE_CHECKING:
    from celebbasis_ext.files.people import TrainedPerson
    from celebbasis_ext.inspection import Inspection

__all__ = ["PeopleActions", "finished"]


class PeopleActions(people_actions.PeopleActions):
    """The shared actions, with facts as lines of text."""

    def facts(self, person: TrainedPerson) -> list[tuple[str, str]]:
        """What is known of a person, as lines for people to read."""
        return [(label, text) for label, text in _lines(person, self.inspected(person)) if text]


def _lines(person: TrainedPerson, inspection: Inspection) -> list[tuple[str, str]]:
    facts = person.facts
    checkpoint = facts.get("checkpoint") or {}
    nearest = ", ".join(f"{name} ({cosine:.2f})" for name, cosine in inspection.nearest)
    shape = ", ".join(f"{count} vectors of {width} ({encoder})" for encoder, (count, width) in inspection.shape.items())
    scores = facts.get("scores") or {}
    return [
        ("Checkpoint", f"{checkpoint.get('name', '')} {str(checkpoint.get('sha256', ''))[:10]}".strip()),
        ("Origin", str(facts.get("made_by", ""))),
        ("Likeness", f"{scores['likeness']:.2f}, anybody {scores['impostors']:.2f}" if scores else ""),
        ("Steps", str(facts.get("steps", ""))),
        ("Beside the person", ", ".join(facts.get("description") or ())),
        ("Nearest celebrities", nearest),
        ("Distance from the centre", ", ".join(f"{d:.2f}" for d in inspection.distances)),
        ("Vectors", shape),
        ("Settings", settings_text(facts.get("settings"))),
        ("Face models", str(facts.get("faces", ""))),
    ]
