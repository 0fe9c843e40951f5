from engine.model.properties import read_properties


def test_javas_format_is_read() -> None:
    text = (
        "# comment\n! another\n\n a = b \nc:d\ne f\npath=C:\\\\data\nlong=one,\\\n   two\nu=\\u0041\\tB\nempty=\n"
        "url=http://h:1/x=y\nkey\\ with\\=blank=v\nends=\\\\\nlast=x\\"
    )
    assert read_properties(text) == {
        "a": "b ",
        "c": "d",
        "e": "f",
        "path": "C:\\data",
        "long": "one,two",
        "u": "A\tB",
        "empty": "",
        "url": "http://h:1/x=y",
        "key with=blank": "v",
        "ends": "\\",
        "last": "x",
    }
