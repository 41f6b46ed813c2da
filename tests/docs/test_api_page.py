"""docs/api.md is what the docstrings say today; its examples are run by test_docs.py."""

from __future__ import annotations

import restorer
from tests.docs import api_page


def test_the_page_is_up_to_date() -> None:
    assert api_page.PAGE.read_text("utf-8") == api_page.page(), f"Type: {api_page.COMMAND}"


def test_every_public_name_and_every_example_is_there() -> None:
    text = api_page.page()
    for name in (*restorer.__all__, "restore_file", "restore_many", "output_size", "OutputExistsError"):
        assert name == "__version__" or name in text, name
    assert text.count("```python\n") == len(api_page.EXAMPLES) >= 10
    assert "Args:" not in text
