"""The committed note, read by Zeppelin 0.10's own parser."""

import json


def read_back(zeppelin, note: dict) -> list:
    """Return Zeppelin's paragraphs of the note."""
    paragraphs = list(zeppelin.notebook.Note.fromJson(note["id"], json.dumps(note)).getParagraphs())
    for paragraph in paragraphs:
        paragraph.parseText()
    return paragraphs


def test_zeppelin_reads_the_same_note(zeppelin, note):
    read = zeppelin.notebook.Note.fromJson(note["id"], json.dumps(note))

    assert (read.getId(), read.getName()) == (note["id"], note["name"])
    again = json.loads(read.toJson())
    for written, kept in zip(note["paragraphs"], again["paragraphs"], strict=True):
        # Zeppelin can add fields, such as a date. It must keep all fields that we wrote.
        assert {key: kept.get(key) for key in written} == written
    assert {key: again.get(key) for key in note if key != "paragraphs"} == {
        key: value for key, value in note.items() if key != "paragraphs"
    }


def test_zeppelin_finds_interpreter_and_text(zeppelin, note):
    for written, paragraph in zip(note["paragraphs"], read_back(zeppelin, note), strict=True):
        first, text = written["text"].split("\n", 1)
        assert paragraph.getId() == written["id"]
        assert paragraph.getScriptText().strip() == text.strip()
        if first == "%md":
            assert paragraph.getIntpText() == "md"
        else:
            assert paragraph.getIntpText() == "flink.ssql"
            assert dict(paragraph.getLocalProperties()) == {"type": "update", "parallelism": "1"}


def test_zeppelin_sees_no_form(zeppelin, note):
    """Zeppelin would make a form of `${x}`, and ask the reader for a value."""
    for paragraph in note["paragraphs"]:
        for is_note_form in (False, True):
            forms = zeppelin.display.Input.extractSimpleQueryForm(paragraph["text"], is_note_form)
            assert dict(forms) == {}, paragraph["text"]


def test_zeppelin_splits_cells_as_written(zeppelin, note):
    """Zeppelin must split the statements correctly despite comments, quotes and hints."""
    splitter = zeppelin.interpreter.util.SqlSplitter()
    cells = [paragraph["text"].split("\n", 1) for paragraph in note["paragraphs"]]
    for text in [text for first, text in cells if first != "%md"]:
        kinds = [statement.split()[0] for statement in splitter.splitSql(text)]
        assert kinds in (["drop", "create"], ["set", "set", "set", "insert"], ["set", "set", "set", "select"]), text
