"""What is made from the messages is what the code would make now."""

import pytest

from rollcast.server.protocol.generate import ROOT, files


@pytest.mark.parametrize("path", files())
def test_the_file_is_up_to_date(path: str) -> None:
    hint = "write it anew with: python -m rollcast.server.protocol.generate"
    assert (ROOT / path).read_text() == files()[path], hint
