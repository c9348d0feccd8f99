"""The site, built once for all tests of the browser."""

import pytest

from web.browser import build, require


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder with the page and the codec; skips where no browser can run."""
    require()
    return build(tmp_path_factory.mktemp("web"))
