from __future__ import annotations


class SdConditioning(list[str]):
    def __init__(self, prompts: list[str], width: int, height: int) -> None:
        super().__init__(prompts)
        self.width, self.height = width, height
