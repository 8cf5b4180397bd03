from rich.console import Console

from resnest.cli.progress import Progress


def test_where_it_is_disabled_nothing_is_written_in_any_version_of_rich(capsys):
    with Progress(console=Console(stderr=True), disable=True) as progress:
        assert list(progress.track([1, 2])) == [1, 2]
    assert capsys.readouterr() == ("", "")
