"""What the README shows is what the program says."""

from __future__ import annotations

import re
from pathlib import Path

from f2yaml.interpreter.checking import problems_in

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
RECIPE = next(text for text in re.findall(r"```yaml\n(.*?)```", README, re.S))


def test_the_recipe_has_no_problems(tmp_path: Path) -> None:
    path = tmp_path / "my_deep_field.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    assert problems_in(str(path)) == []


def test_the_typo_gives_the_message_shown(tmp_path: Path) -> None:
    path = tmp_path / "my_deep_field.yaml"
    good, wrong = "{reject_method: sigclip, hsigma: 2.5}", "{hsigmaa: 2.5}"
    assert good in RECIPE
    path.write_text(RECIPE.replace(good, wrong), encoding="utf-8")
    (problem,) = problems_in(str(path))
    assert problem.render().replace(f"{tmp_path}/", "") in README
