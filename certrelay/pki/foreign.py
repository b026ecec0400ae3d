"""Recognise files that people mistake for certificates, and say which command converts them."""

import re

_KEYSTORE = (
    "this is a Java keystore; convert it: keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 "
    "-deststoretype PKCS12"
)
_BOUNCY_CASTLE = (
    "this is a keystore of Bouncy Castle ({}); convert it with Bouncy Castle as a provider: keytool "
    "-importkeystore -srckeystore FILE -srcstoretype {} -destkeystore FILE.p12 -deststoretype PKCS12"
)
_BKS, _BCFKS = _BOUNCY_CASTLE.format("BKS or UBER", "BKS"), _BOUNCY_CASTLE.format("BCFKS", "BCFKS")
_NSS = (
    "this is a database of NSS (Firefox); export the certificate with its key: pk12util -o FILE.p12 -n NAME -d FOLDER"
)
_KEYCHAIN = (
    "this is a keychain of macOS; export the key with its certificate: security export -k FILE -t identities "
    "-f pkcs12 -o FILE.p12"
)
_SST = (
    "this is a certificate store of Windows (SST), which holds no key; export a PFX: certutil -exportPFX SERIALNUMBER "
    "FILE.pfx"
)
DAMAGED_LINES = (
    "its BEGIN lines are damaged: PEM has five hyphens before and after BEGIN CERTIFICATE, in capital letters; send "
    "the original file, not what a mail, a web page or an editor made of it"
)
_BY_BEGINNING = (
    (b"PK\x03\x04", "this is a ZIP archive; send the certificate in it: unzip FILE"),
    (b"\x1f\x8b", "this is a gzip archive; send the certificate in it: tar -xzf FILE, or gunzip FILE"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7-Zip archive; send the certificate in it: 7z x FILE"),
    (b"Rar!", "this is a RAR archive; send the certificate in it: unrar x FILE"),
    (b"\x28\xb5\x2f\xfd", "this is a Zstandard archive; send the certificate in it: unzstd FILE"),
    (b"MSCF", "this is a cabinet of Windows (CAB); send the certificate in it: expand FILE -F:* ."),
    (b"%PDF", "this is a PDF document, not a certificate; send the file that the authority made"),
    (b"\xfe\xed\xfe\xed", _KEYSTORE),
    (b"\xce\xce\xce\xce", _KEYSTORE),
    (b"\xfd7zXZ", "this is an xz archive; send the certificate in it: tar -xJf FILE, or unxz FILE"),
    (b"BZh", "this is a bzip2 archive; send the certificate in it: tar -xjf FILE, or bunzip2 FILE"),
    (b"\xd0\xcf\x11\xe0", "this is a file of Outlook or Office; save the attachment in it, and send that"),
    (b"SQLite format 3", _NSS),
    (b"\0\x06\x15\x61", _NSS),
    (b"kych", _KEYCHAIN),
    (b"\x1e\xf1\xb5\xb0", "this is a PVK file of Windows; convert it: openssl rsa -inform PVK -in FILE -out FILE.pem"),
    (b"\0\0\0\0CERT", _SST),
    (b"version https://git-lfs", "this is a pointer of Git LFS, not the file itself; fetch it: git lfs pull"),
    (b"$ANSIBLE_VAULT", "this file is encrypted by Ansible; decrypt it: ansible-vault decrypt FILE"),
    (b"data:", "this is a data URL; send what stands after the comma"),
    (b"\0\0\0\x01\0\0\0\x14", _BKS),
    (b"\0\0\0\x02\0\0\0\x14", _BKS),
    (b"PuTTY-User-Key-File", "this is a key of PuTTY for SSH; Key Vault has no use for it"),
    (b"PK\x05\x06", "this is a ZIP archive, and it is empty; send the certificate itself"),
)
_HTML = re.compile(
    rb"(\xef\xbb\xbf)?\s*<(!doctype html|!--|(html|head|body|title|meta|script|center|table|div|pre|p|h[1-6])[\s>])",
    re.I,
)
_XML = re.compile(rb"(\xef\xbb\xbf)?\s*<(\?xml|!doctype|[a-z][\w.-]*(:[\w.-]+)?[\s/>])", re.IGNORECASE)
_JSON = re.compile(rb"(\xef\xbb\xbf)?\s*(\{\s*[\"}]|\[\s*[\"{\]]|\"|null\s*$)")
# Not \s: from each line on, it would read all empty ones that follow.
_KUBERNETES = re.compile(rb"(?:^|[{,])[ \t]*\"?(kind\"?:\s*\"?Secret|tls\.(crt|key)\"?:)", re.MULTILINE)
_MAIL = re.compile(
    rb"^(mime-version|content-type|content-transfer-encoding|received|return-path|message-id|subject):", re.I | re.M
)
_SMIME = re.compile(rb"(pkcs7-mime|pkcs7-signature|smime\.p7[ms])", re.IGNORECASE)
_ENCRYPTED = re.compile(rb"smime-type=\"?(auth)?enveloped-data", re.IGNORECASE)
_SSH = re.compile(rb"\s*((ssh|ecdsa-sha2|sk-ssh|sk-ecdsa-sha2)-[\w@.-]+ AAAA|---- BEGIN SSH2 )")
_HEXADECIMAL = re.compile(rb"\s*(0x)?(30[\s:]*8[0-4]|2d[\s:]*2d)([\s:]*[0-9a-f]{2}){30}", re.IGNORECASE)
_BEGIN = rb"BEGIN\s*(TRUSTED |RSA |EC |ENCRYPTED |X509 )*(CERTIFICATE|PRIVATE KEY|PKCS)"
_OTHER_HYPHENS = re.compile(_BEGIN, re.IGNORECASE)
_DAMAGED_LINE = re.compile(rb"^[^\w\n]*" + _BEGIN, re.IGNORECASE | re.MULTILINE)
_HEX_DUMP = re.compile(rb"\s*0{4,8}:?\s+(30 ?8[0-4]|2d ?2d)", re.IGNORECASE)
_URL_ENCODED = re.compile(rb"-----BEGIN(%20|\+)")
_TAR, _TAR_PLACE = b"ustar", 257
# A BCFKS is DER: its store stands encrypted (PBES2) one level deeper than the key of PKCS#8.
_BCFKS_BEGINNING = re.compile(
    rb"(0(?:[\x00-\x7f]|\x81.|\x82..|\x83...)){3}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d", re.DOTALL
)
# The first octets of DER after a text editor saved them: replaced, or Latin-1, Windows-1252 or code page 437 converted
# to UTF-8, or to UTF-16 as Windows PowerShell does.
_PASTED = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*0(\xef\xbf\xbd|\xc2[\x80-\x9f]|\xe2\x80\x9a|\xc6\x92|\xc3\xa9|\?[\x00-\x7f]{2}\x02\x01\x03)"
    rb"|(?:\xff\xfe)?0\x00(?:[\x80-\x84]\x00|\x1a\x20|\xfd\xff|\xe9\x00)|(?:\xfe\xff)?\x000(?:\x00[\x80-\x84]|\x20\x1a|\xff\xfd|\x00\xe9)"
)

# In this order; the sentence for a mail depends on its kind.
_BY_TEXT = (
    (
        _KUBERNETES.search,
        (
            "this is a secret of Kubernetes; take the certificate and the key out of it: kubectl get secret NAME "
            "-o jsonpath='{.data.tls\\.crt}' | base64 -d, and the same with tls\\.key"
        ),
    ),
    (_JSON.match, "this is JSON, perhaps an error message; send the certificate in it as PEM"),
    (
        _HTML.match,
        "this is a web page (HTML), perhaps of an error or to sign in; download the file itself, or send it as PEM",
    ),
    (_XML.match, "this is XML, not a certificate; send the file that the authority made, as PEM or PKCS#7"),
    (_MAIL.search, ""),
    (
        _SSH.match,
        "this is a public key of SSH, for which Key Vault has no use; send the certificate with its private key",
    ),
    (_HEXADECIMAL.match, "this is hexadecimal text; convert it: xxd -r -p FILE NEW"),
    (_HEX_DUMP.match, "this is a hex dump; send the file itself, of which it was made"),
    (
        _URL_ENCODED.search,
        (
            "this is text in URL encoding; decode it: "
            "python3 -c 'import sys, urllib.parse as u; print(u.unquote_plus(sys.stdin.read()))' < FILE"
        ),
    ),
    (_OTHER_HYPHENS.search, DAMAGED_LINES),
    (
        _PASTED.match,
        (
            "this is a binary file, such as a PFX, that went through a text editor, which destroyed it; send the "
            "original in base64: base64 -w0 FILE, or in PowerShell "
            "[Convert]::ToBase64String([IO.File]::ReadAllBytes('FILE'))"
        ),
    ),
)


def what_it_is(data: bytes) -> str | None:
    """A sentence that says what the file is and what to do, if it is of a well-known other kind; else None."""
    for beginning, sentence in _BY_BEGINNING:
        if data.startswith(beginning):
            return sentence
    if _BCFKS_BEGINNING.match(data):
        return _BCFKS
    if b"-----BEGIN " in data:  # PEM in a page or a mail is found all the same
        return None
    if data[_TAR_PLACE:].startswith(_TAR):
        return "this is a tar archive; send the certificate in it: tar -xf FILE"
    return _what_the_text_is(data)


def has_damaged_lines(data: bytes) -> bool:
    """Whether some BEGIN lines are damaged, among others that are not."""
    return _DAMAGED_LINE.search(data.replace(b"-----BEGIN ", b"")) is not None


def _what_the_text_is(data: bytes) -> str | None:
    head = data[:4096]
    for is_so, sentence in _BY_TEXT:
        if is_so(head):
            return sentence or _what_the_mail_is(head)
    return None


def _what_the_mail_is(head: bytes) -> str:
    if _ENCRYPTED.search(head):
        return "this is an encrypted mail (S/MIME); decrypt it, and send what is in it: openssl cms -decrypt -in FILE"
    if _SMIME.search(head):
        return (
            "this is an S/MIME mail; take the certificates out of it: "
            "openssl smime -pk7out -in FILE -out FILE.p7b (openssl pkcs7 -print_certs -in FILE.p7b shows them)"
        )
    return "this is an e-mail; save its attachment, and send that"
