"""An account without a name can press the e-stop, too."""

import getpass

from rlbridge.plants.operator import who


def test_an_account_without_a_name_has_a_number(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert who().startswith(("account ", "somebody"))
