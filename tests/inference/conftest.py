"""What the tests of files of vectors share."""

import pytest


@pytest.fixture
def file(tmp_path):
    def write(content, name="vectors"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write
