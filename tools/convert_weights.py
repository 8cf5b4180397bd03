"""`resnest convert` as a script: python tools/convert_weights.py SRC DST [--dialect torch|gluon] [--verify]."""

from resnest.cli.commands.convert import command

if __name__ == "__main__":
    command()
