"""Files as shops export them: separators, encodings, decimal commas, dates, ragged rows, columns that say nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.tabular._columns import columns
from gatewise.tabular._features import fit
from gatewise.tabular._read import read
from gatewise.tabular._values import COMMA, DAY_FIRST, MONTH_FIRST, POINT, DateForm, date_form, number_form


def written(folder: Path, content: str | bytes, name: str = "shop.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def kinds(path: Path) -> dict[str, str]:
    return {column.name: column.kind for column in columns(read(path))}


@pytest.mark.parametrize(("separator", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_the_separator_is_found_though_others_stand_in_texts(tmp_path: Path, separator: str, name: str) -> None:
    others = "".join(sign for sign in ",;|" if sign != separator)
    lines = [separator.join(("a", "b", "c")), *(separator.join((f'"x{others}y"', "2", "3")) for _ in range(5))]
    file = read(written(tmp_path, "\n".join(lines)))
    assert (file.separator, file.columns, file.rows[0]) == (name, ("a", "b", "c"), (f"x{others}y", "2", "3"))


@pytest.mark.parametrize(
    ("encoding", "found"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("latin-1", "cp1252"), ("utf-16", "utf-16")]
)
def test_letters_with_accents_survive_every_encoding(tmp_path: Path, encoding: str, found: str) -> None:
    file = read(written(tmp_path, "größe,ort\n1,Köln\n2,Málaga\n".encode(encoding)))
    assert (file.encoding, file.columns[0], file.rows[1][1]) == (found, "größe", "Málaga")


def test_bytes_that_even_windows_does_not_know_are_latin_1(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"a,b\n\xe4\x81,1\n")).encoding == "latin-1"


def test_ragged_rows_are_left_out_and_said_or_kept(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,c\n" + "1,2,3\n" * 10 + "1,2\n\n1,2,3,4\n1,2,3,\n")
    file = read(path)
    assert len(file.rows) == 11
    assert "2 rows do not have as many cells" in file.notes[0]
    assert "left out (rows 12, 13)" in file.notes[0] or "left out (rows 12, 14)" in file.notes[0]
    assert [len(row) for row in read(path, keep_ragged=True).rows] == [3] * 13


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"a,b\n\x00\x01,2\n", "not a text file"),
        (b"only\none\ncolumn\n", "one column only"),
        (b"1,2,3\n4,5,6\n", "no header"),
        (b"a,b\n1\n2\n3,4\n", "do not have the header's 2 cells"),
    ],
)
def test_what_is_no_table_is_refused_in_two_lines(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        read(written(tmp_path, content))
    assert str(caught.value).count("\n") <= 1


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match=r"cannot read .*nothing\.csv"):
        read(tmp_path / "nothing.csv")


def test_repeated_and_empty_names_get_their_own(tmp_path: Path) -> None:
    file = read(written(tmp_path, "a,,a\n1,2,3\n"))
    assert file.columns == ("a", "column 2", "a (2)")
    assert any("more than once" in note for note in file.notes)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("1.234,56", 1234.56), ("1,5", 1.5), ("-3", -3.0), ("€ 12,90", 12.9), ("12 %", 12.0), ("1 234,5", 1234.5)],
)
def test_decimal_commas(cell: str, value: float) -> None:
    assert COMMA.parse(cell) == value


@pytest.mark.parametrize(
    ("cell", "value"), [("1,234.56", 1234.56), ("$1,200", 1200.0), ("−4", -4.0), ("1e3", 1000.0), (".5", 0.5)]
)
def test_decimal_points(cell: str, value: float) -> None:
    assert POINT.parse(cell) == value


@pytest.mark.parametrize("cell", ["", "12a", "1.2.3", "nan", "inf", "1e999", "--1", "1,2,3"])
def test_what_is_no_number_is_none(cell: str) -> None:
    assert POINT.parse(cell) is None


@given(st.floats(-1e9, 1e9).map(lambda value: round(value, 4)))
def test_a_number_is_read_back_in_either_form(value: float) -> None:
    assert POINT.parse(f"{value:,.4f}") == value
    swapped = f"{value:,.4f}".replace(",", "_").replace(".", ",").replace("_", ".")
    assert COMMA.parse(swapped) == value


def test_a_comma_before_three_digits_is_read_by_the_files_own_separator() -> None:
    cells = ["1,234", "5,678"]
    assert number_form(cells, separator="comma") == (POINT, 1.0, True)
    assert number_form(cells, separator="semicolon") == (COMMA, 1.0, True)
    assert number_form([*cells, "1,5"], separator="comma") == (COMMA, 1.0, False)


@pytest.mark.parametrize(
    "cell",
    ["2024-03-05", "2024/3/5", "5.3.2024", "05/03/2024", "5 March 2024", "Mar 5, 2024", "2024-03-05T00:00:00Z"],
)
def test_a_day_in_every_usual_form(cell: str) -> None:
    assert DateForm().parse(cell) == 19787.0


def test_times_zones_and_what_is_no_day() -> None:
    assert DateForm().parse("2024-03-05 12:00") == 19787.5
    assert DateForm().parse("2024-03-05T02:00:00+02:00") == 19787.0
    assert DateForm(day_first=False).parse("3/5/2024 6:00 PM") == 19787.75
    assert [DateForm().parse(cell) for cell in ("2024-02-30", "32.1.2024", "1.2.3", "hello")] == [None] * 4


def test_the_order_of_day_and_month_comes_from_the_column_or_is_said_to_be_a_guess() -> None:
    assert date_form(["03/14/2024", "03/05/2024"]) == (DateForm(day_first=False), 1.0, False)
    assert date_form(["03/04/2024", "05/06/2024"])[2]
    assert not date_form(["2024-03-04"])[2]


def test_every_column_is_taken_for_what_it_is(tmp_path: Path) -> None:
    towns = ("Köln", "Bonn", "Aachen")
    lines = ["Customer Nr;zip;price;town;since;note;country;empty;ref;row"]
    for row in range(60):
        note = f"the {towns[row % 3]} shop called about order number {row * 7}"
        since = f"{row % 28 + 1}.{row % 12 + 1}.2023"
        cells = (9000 + row * 3, f"0{row % 9}123", f"{row},5", towns[row % 3], since, note, "DE", "", f"AX{row}Q", row)
        lines.append(";".join(map(str, cells)))
    found = kinds(written(tmp_path, "\n".join(lines)))
    assert found == {
        "Customer Nr": "identifier",
        "zip": "category",
        "price": "number",
        "town": "category",
        "since": "date",
        "note": "text",
        "country": "constant",
        "empty": "empty",
        "ref": "identifier",
        "row": "identifier",
    }


def test_a_few_words_among_numbers_are_counted_as_missing(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n" + "".join(f"{row * 1.5},x\n" for row in range(40)) + "unknown,y\n")
    column = columns(read(path))[0]
    assert (column.kind, column.why) == ("number", "1 value is no number and counts as missing.")


def test_whole_numbers_that_are_no_names_of_rows_stay_numbers(tmp_path: Path) -> None:
    lines = ["steps,income,y", *(f"{9000 + 3 * row},{(row * 7919) % 100003},{row % 2}" for row in range(60))]
    found = kinds(written(tmp_path, "\n".join(lines)))
    assert (found["steps"], found["income"]) == ("identifier", "number")


def test_a_sheets_first_line_names_the_separator(tmp_path: Path) -> None:
    file = read(written(tmp_path, "sep=;\r\na;b\r\n1,5;x\r\n2,5;y\r\n"))
    assert (file.separator, file.columns, file.rows) == ("semicolon", ("a", "b"), (("1,5", "x"), ("2,5", "y")))


@pytest.mark.parametrize("opened", ["b\n", "b\n3,c\n", f"b{'x' * 200_000}\n"])
def test_a_quote_that_is_never_closed_is_refused_with_its_line(tmp_path: Path, opened: str) -> None:
    path = written(tmp_path, f'a,b\n1,"one\ntwo"\n2,"{opened}')
    with pytest.raises(GatewiseError, match="opened in line 4 and never closed"):
        read(path)


def test_a_last_column_without_a_name_is_kept_where_it_holds_something(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a,b,\n1,2,\n3,4,\n")).columns == ("a", "b")
    assert read(written(tmp_path, "a,b,\n1,2,\n3,4,5\n")).columns == ("a", "b", "column 3")


def test_a_second_file_keeps_every_row_and_needs_no_second_column(tmp_path: Path) -> None:
    file = read(written(tmp_path, "a,b\n1,2\n,\n\n3,4\n"), keep_ragged=True)
    assert file.rows == (("1", "2"), ("", ""), ("3", "4"))
    assert read(written(tmp_path, "day\n1.2.2023\nsoon\n"), keep_ragged=True).rows == (("1.2.2023",), ("soon",))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (("2021-03-04", "5.3.2021", "3/28/2021", "5 March 2021", "13. Oktober 2021", "1 février 2021"), "date"),
        (("05/03/21", "28/03/99", "30/12/20"), "date"),
        (("1.5", "2.5", "inf", "-inf", "#DIV/0!", "7.25"), "number"),
        ((*(f"{value}.25" for value in range(30)), *["on request", "On Request"] * 5), "number"),
        ((*(f"{value}.25" for value in range(30)), *["a", "b", "c", "d"] * 3), "category"),
    ],
)
def test_what_awkward_columns_are_taken_for(tmp_path: Path, cells: tuple[str, ...], kind: str) -> None:
    file = read(written(tmp_path, "c,k\n" + "".join(f'"{cell}",x\n' for cell in cells)))
    assert columns(file)[0].kind == kind


def test_a_day_is_the_same_however_it_is_written() -> None:
    same = ("2021-03-05", "5.3.2021", "05.03.21", "5 March 2021", "5. März 2021", "5 mars 2021")
    assert {MONTH_FIRST.parse(cell) for cell in same} == {DAY_FIRST.parse("5/3/21")}
    assert MONTH_FIRST.parse("3/5/99") == DAY_FIRST.parse("5.3.1999")
    assert DAY_FIRST.parse("123/3/21") is None


def test_spellings_of_a_category_are_one_word(tmp_path: Path) -> None:
    file = read(written(tmp_path, "c,k\n" + "Bonn,x\nbonn,x\nBONN  am Rhein,x\nbonn am rhein,x\n" * 6))
    column = columns(file)[0]
    assert column.why == "2 spellings differ from another in capitals or spaces only; they count as one word."
    found = fit([column], [file.column(0)], np.zeros(24), classes=True).encode([["BONN", "bonn", "Bonn am rhein"]])
    assert found[0].tolist() == found[1].tolist() != found[2].tolist()
