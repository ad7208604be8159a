"""What the People page does: shown, renamed, deleted, mixed, made up. Knows no page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from celebbasis_ext.errors import CelebBasisError, InvalidSettings
from celebbasis_ext.files.embedding import load_embedding, save_preview
from celebbasis_ext.files.people import TrainedPerson, delete_person, find_person, list_people, rename_person
from celebbasis_ext.person import check_new_name
from celebbasis_ext.types import TrainConfig
from celebbasis_ext.ui.markup import settings_text

if TYPE_CHECKING:
    from celebbasis_ext.inspection import Inspection
    from celebbasis_ext.job_queue import Job, Report
    from celebbasis_ext.types import Saved
    from celebbasis_ext.ui.context import TabContext

PORTRAIT = "a photo of {}"


class PeopleActions:
    """The People page's actions on its surroundings. What uses the checkpoint waits in the job queue."""

    def __init__(self, context: TabContext) -> None:
        self.context = context

    def everybody(self) -> tuple[TrainedPerson, ...]:
        return list_people(self.context.embeddings_dir)

    def find(self, name: str) -> TrainedPerson:
        """See `files.people.find_person`."""
        return find_person(self.context.embeddings_dir, name)

    def facts(self, person: TrainedPerson) -> list[tuple[str, str]]:
        """What is known of a person, as lines for people to read."""
        from celebbasis_ext.tools import inspect

        inspection = inspect(self.context.open_workshop(), load_embedding(person.path))
        return [(label, text) for label, text in _lines(person, inspection) if text]

    def config_of(self, person: TrainedPerson) -> TrainConfig:
        """The settings of a person whose training was interrupted.

        Raises:
            InvalidSettings: It was not, or the settings cannot be read.
        """
        if not person.resumable:
            raise InvalidSettings(
                f"The training of {person.name} is finished.", "Learn a new person on the Train page."
            )
        settings: Any = person.facts.get("settings")
        try:
            return TrainConfig(**settings)
        except TypeError as error:
            raise InvalidSettings(
                f"The settings in the file of {person.name} cannot be read.", "Choose them on the Train page."
            ) from error

    def rename(self, name: str, new_name: str) -> str:
        """Raises InvalidName, NameTaken or InvalidEmbedding; returns the new name."""
        host = self.context.open_workshop().host
        if new_name.lower() != name.lower():
            check_new_name(host, new_name)
        path = rename_person(self.context.embeddings_dir, name, new_name)
        host.publish(path)
        return path.stem

    def delete(self, name: str) -> None:
        """Raises InvalidName or InvalidEmbedding."""
        removed = delete_person(self.context.embeddings_dir, name)
        self.context.open_workshop().host.publish(removed[0])

    def mix(self, parents: Sequence[tuple[str, float]], name: str) -> str:
        """Writes somebody between several people, with a picture; returns the name.

        Raises:
            CelebBasisError: See `tools.mix_people`.
        """
        from celebbasis_ext.tools import Parent, mix_people

        wanted = [Parent(who, weight) for who, weight in parents if who and weight]
        if len(wanted) < 2:
            raise InvalidSettings("A mix needs at least two people with a weight.", "Choose more people.")

        def work(report: Report) -> Saved:
            return mix_people(self.context.open_workshop(), wanted, name)

        return self._made(f"Mix {name}", name, work)

    def make_up(self, seed: int, name: str) -> str:
        """Writes somebody who does not exist, with a picture; returns the name.

        Raises:
            CelebBasisError: See `tools.sample_people`.
        """
        from celebbasis_ext.tools import sample_people

        def work(report: Report) -> Saved:
            return sample_people(self.context.open_workshop(), [seed], [name])

        return self._made(f"Make up {name}", name, work)

    def celebrities(self) -> list[str]:
        """Whose names the checkpoint knows, for mixing."""
        from celebbasis_ext.jobs import usable_names

        return [name.name for name in usable_names(self.context.open_workshop()).usable]

    def _made(self, title: str, name: str, work: Callable[[Report], Saved]) -> str:
        check_new_name(self.context.open_workshop().host, name)

        def with_picture(report: Report) -> Saved:
            saved = work(report)
            host = self.context.open_workshop().host
            for embedding, path in zip(saved.embeddings, saved.paths, strict=True):
                pictures = host.generate([PORTRAIT.replace("{}", embedding.name)], [0], [embedding])
                for picture in pictures:
                    save_preview(path, picture)
                host.publish(path)
            return saved

        finished(self.context.queue.wait(self.context.queue.order(title, "make", with_picture).id))
        return name


def finished(job: Job) -> Any:
    """The job's result.

    Raises:
        CelebBasisError: The one it failed with, or that it was stopped.
    """
    if job.error is not None:
        raise job.error
    if job.state != "done":
        raise CelebBasisError(f"{job.title} was stopped.", "")
    return job.result


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
