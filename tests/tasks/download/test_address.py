from __future__ import annotations

import pytest
from yarl import URL

from tasks.download.address import AllowList, UrlRefused, is_public, read_url
from tasks.download.results import Reason

NOBODY = AllowList(())


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "8.8.8.8",
        "2606:2800:220:1::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
    ],
)
def test_public(address: str):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "fc00::1",
        "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:2800::1%eth0", "fec0::1", "ff02::1", "2001:db8::1",
        "2001::7f00:1", "2002:7f00:1::", "2002:808:808::", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808", "100::1", "3fff::1", "5f00::1",
    ],
)  # fmt: skip
def test_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.INVALID_URL),
        ("   ", Reason.INVALID_URL),
        ("not a url", Reason.INVALID_URL),
        ("www.example.com/dog.jpg", Reason.INVALID_URL),
        ("//example.com/dog.jpg", Reason.INVALID_URL),
        ("http://", Reason.INVALID_URL),
        ("http:///dog.jpg", Reason.INVALID_URL),
        ("http://[::1", Reason.INVALID_URL),
        ("http://example.com:http/", Reason.INVALID_URL),
        ("http://example.com:70000/", Reason.INVALID_URL),
        ("http://user:secret@example.com/", Reason.INVALID_URL),
        ("http://example.com@127.0.0.1/", Reason.INVALID_URL),
        ("http://example.com\\@127.0.0.1/", Reason.INVALID_URL),
        ("http://127.0.0.1\\.example.com/", Reason.INVALID_URL),
        ("http://\udce4.example.com/", Reason.INVALID_URL),
        ("http://example.com/\ud800", Reason.INVALID_URL),
        ("http://exa mple.com/", Reason.INVALID_URL),
        ("http://exa%6dple.com/", Reason.INVALID_URL),
        ("http://example..com/", Reason.INVALID_URL),
        ("http://" + "a" * 64 + ".com/", Reason.INVALID_URL),
        ("http://example.com/a\r\nHost: evil", Reason.INVALID_URL),
        ("http://example.com/" + "a" * 9000, Reason.INVALID_URL),
        ("ftp://example.com/dog.jpg", Reason.BLOCKED_SCHEME),
        ("file:///etc/passwd", Reason.BLOCKED_SCHEME),
        ("data:image/png;base64,AAAA", Reason.BLOCKED_SCHEME),
        ("javascript:alert(1)", Reason.BLOCKED_SCHEME),
        ("gopher://example.com/", Reason.BLOCKED_SCHEME),
        ("http://example.com:22/", Reason.BLOCKED_PORT),
        ("http://example.com:25/", Reason.BLOCKED_PORT),
        ("http://example.com:0/", Reason.BLOCKED_PORT),
        ("http://127.0.0.1/", Reason.BLOCKED_ADDRESS),
        ("http://127.0.0.1./", Reason.BLOCKED_ADDRESS),
        ("http://127.1/", Reason.BLOCKED_ADDRESS),
        ("http://2130706433/", Reason.BLOCKED_ADDRESS),
        ("http://0x7f000001/", Reason.BLOCKED_ADDRESS),
        ("http://0177.0.0.1/", Reason.BLOCKED_ADDRESS),
        ("http://0x7f.0.0.0x1/", Reason.BLOCKED_ADDRESS),
        ("http://1.2.3.4.5/", Reason.BLOCKED_ADDRESS),
        ("http://①②⑦.0.0.1/", Reason.BLOCKED_ADDRESS),
        ("http://127。0。0。1/", Reason.BLOCKED_ADDRESS),
        ("http://[::1]/", Reason.BLOCKED_ADDRESS),
        ("http://[::ffff:127.0.0.1]/", Reason.BLOCKED_ADDRESS),
        ("http://[64:ff9b::7f00:1]/", Reason.BLOCKED_ADDRESS),
        ("http://[fe80::1%25eth0]/", Reason.BLOCKED_ADDRESS),
        ("http://169.254.169.254/latest/meta-data/", Reason.BLOCKED_ADDRESS),
    ],
)
def test_refused(text: str, reason: Reason):
    with pytest.raises(UrlRefused) as refused:
        read_url(text, NOBODY)
    assert refused.value.reason == reason
    assert refused.value.detail


@pytest.mark.parametrize(
    ("text", "sent", "host", "port"),
    [
        ("http://example.com", "http://example.com/", "example.com", 80),
        ("HTTPS://EXAMPLE.com./A.jpg", "https://example.com/A.jpg", "example.com", 443),
        ("http://example.com:8080/a?b=c#d", "http://example.com:8080/a?b=c", "example.com", 8080),
        ("http://example.com:80/", "http://example.com/", "example.com", 80),
        # As signed: nothing that is legal in a URL is decoded, encoded or put in order.
        ("https://a.b/x%2Fy%7E?s=a%2Bb+c&t=%3D==&u", "https://a.b/x%2Fy%7E?s=a%2Bb+c&t=%3D==&u", "a.b", 443),
        ("https://a.b/../c/./d", "https://a.b/../c/./d", "a.b", 443),
        ("http://a.b/ein bär.jpg?q=ü", "http://a.b/ein%20b%C3%A4r.jpg?q=%C3%BC", "a.b", 80),
        ("http://bücher.example/", "http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80),
        (
            "http://my_bucket.s3.example.com/",
            "http://my_bucket.s3.example.com/",
            "my_bucket.s3.example.com",
            80,
        ),
        ("http://a.b/\udce4?\udcff", "http://a.b/%E4?%FF", "a.b", 80),
        ("http://a.b//c//d", "http://a.b//c//d", "a.b", 80),
        ("http://a.b?c", "http://a.b/?c", "a.b", 80),
        ("http://8.8.8.8/a", "http://8.8.8.8/a", "8.8.8.8", 80),
        ("http://[2606:2800:220:1:0::1]:81/a", "http://[2606:2800:220:1::1]:81/a", "2606:2800:220:1::1", 81),
        (" http://example.com/a ", "http://example.com/a", "example.com", 80),
    ],
)
def test_sent_as_given(text: str, sent: str, host: str, port: int):
    target = read_url(text, NOBODY)
    assert (str(target.url), target.host, target.port) == (sent, host, port)
    assert (target.url.raw_host, target.url.port) == (host, port)


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/b.jpg", "https://example.com/b.jpg"),
        ("b.jpg?x", "https://example.com/dir/b.jpg?x"),
        ("//cdn.example.com/b", "https://cdn.example.com/b"),
        ("http://other.example.com/", "http://other.example.com/"),
    ],
)
def test_redirects_are_read_against_their_base(location: str, sent: str):
    assert str(read_url(location, NOBODY, base=URL("https://example.com/dir/a.jpg")).url) == sent


def test_allow_list_is_exact():
    allow = AllowList(("127.0.0.1:8080", "Intern.example", "[::1]:81", "::2", "10.0.0.7"))
    assert allow.allows("127.0.0.1", 8080)
    assert not allow.allows("127.0.0.1", 8081)
    assert not allow.allows("127.0.0.2", 8080)
    assert allow.allows("intern.example", 1)
    assert not allow.allows("x.intern.example", 1)
    assert allow.allows("::1", 81)
    assert not allow.allows("::1", 80)
    assert allow.allows("::2", 80)
    assert str(read_url("http://10.0.0.7:22/", allow).url) == "http://10.0.0.7:22/"
    with pytest.raises(UrlRefused):
        read_url("http://10.0.0.8/", allow)


@pytest.mark.parametrize(
    "entry", ["", "http://x", "x/y", "a b", "x:y", "x:99999", "u@x", "127.1", "*.example.com"]
)
def test_allow_list_names_what_it_cannot_read(entry: str):
    with pytest.raises(ValueError, match="allowed host"):
        AllowList((entry,))
