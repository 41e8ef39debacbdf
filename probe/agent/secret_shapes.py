"""Secrets that show by what they look like, or by what stands around them. Data only; see
`redaction`."""

from __future__ import annotations

import re

REDACTED = "•••"
# Where a secret is, in place of one: Mesos, Marathon and others take a file's name so.
ROOTS = r"/(?:etc|var|run|opt|home|usr|root|mnt|srv|tmp|dev|secrets?)/"
# Of these not even a password begins so.
SURE_ROOTS = r"/(?:run|var/run|secrets?)/"
# `pass` and `pw` stand alone elsewhere: a compass is none.
GLUED_PASSWORDS = (
    r"(?:admin|bind|db|ftp|http|ldap|login|my|pg|proxy|redis|root|rpc|smtp|ssh|ssl|sudo|user|vnc)"
    r"(?:pass|pw)"
)
_NAMED = (
    r"((?:^|[?&;,=\s'\"{{([\\])[\w.-]{{0,64}}?{names}s?\\{{0,3}}[\"']?\s{{0,2}}[=:]\s{{0,2}})"
    r"(?:(\\{{0,3}}[\"'])(?!file:///|{roots})[^\"'\\]{{1,512}}"
    r"|(?![\s\"'\\]|file:///|{roots})[^&;,\s\"'}}\\]{{1,512}})"
)
_PASSWORDS = (
    r"(?:password|passwd|passphrase|pwd|secret|token|(?<![a-z])pass|(?<![a-z])pw|(?<![a-z])psk"
    rf"|(?<![a-z]){GLUED_PASSWORDS})"
)
_KEYS = (
    r"(?:(?:api|access|account|auth|licen[sc]e|hmac|sign(?:ing)?|(?<![a-z])app|master|private|secret"
    r"|unseal)[-_]?key|secret[-_]?key[-_]?base|credential|signature|sig"
    r"|(?:basic|digest)[-_]?auth(?:[-_.]user)?)"
)
SHAPES = (
    # user:password@ in an address; the last @ before the path ends it.
    (re.compile(r"(?<=://)([^\s/:@'\"]{0,128}):[^\s/'\"]{1,512}@"), rf"\1:{REDACTED}@"),
    # One with a slash in its password; what follows a host is a port.
    (
        re.compile(r"(?<=://)([^\s/:@'\"]{1,128}):(?!\d{1,5}(?:[/,?\s]|$))[^\s'\"@]{1,512}@"),
        rf"\1:{REDACTED}@",
    ),
    # A token in place of a user; short ones are users.
    (re.compile(r"((?:https?|rediss?|nats)://)[^\s/:@'\"•]{8,512}@"), rf"\1{REDACTED}@"),
    (re.compile(r"(jdbc:oracle:\w{1,16}:[^\s/@]{1,64}/)[^\s@]{1,256}@"), rf"\1{REDACTED}@"),
    # Addresses that are a secret as a whole.
    (
        re.compile(
            r"(hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/"
            r"|api\.telegram\.org/bot|webhook\.office\.com/)[^\s'\"]{1,512}"
        ),
        rf"\1{REDACTED}",
    ),
    # What is said to a program that reads it from there.
    (
        re.compile(
            r"(\b(?:echo|printf)\s)[^|\n]{1,256}"
            r"(?=\|[^|\n]{0,128}(?:--password-stdin|passwd|sudo -S))"
        ),
        rf"\1{REDACTED} ",
    ),
    (re.compile(r"(\bchpasswd\s{0,2}<<<\s{0,2}[\"']?)[^\s\"']{1,256}"), rf"\1{REDACTED}"),
    # SQL.
    (
        re.compile(
            r"(\bidentified\s{1,2}(?:with\s{1,2}\S{1,64}\s{1,2})?(?:by|as)\s{1,2}(?:password\s{1,2})?)"
            r"(?:(\\?[\"'])[^\"'\\]{1,512}|[^\s\"';\\]{1,512})",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}",
    ),
    (
        re.compile(
            r"(\bpassword\s{0,2}\(?\s{0,2}\\?[\"'])[^\"'\\:=,]{1,512}(?=\\?[\"'])", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
    # Hashes of passwords, as crypt(3) and htpasswd write them.
    (re.compile(r"\${1,2}(?:apr1|[156y]|2[abxy])\${1,2}[\w./$]{8,256}"), REDACTED),
    # A header, whatever its scheme: with quoted parts up to the end, else to the end of the quote.
    (
        re.compile(
            r"((?:proxy-)?authorization[\"']?\s{0,2}[:=]\s{0,2}[\"']?digest\s)[^\n]{1,4096}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            r"((?:\b|_)(?:(?:proxy-)?authorization|cookie|apikey|x-[\w-]{0,32}(?:token|key|auth|secret))[\"']?"
            r"\s{0,2}:\s{0,2}[\"']?(?:(?:basic|bearer|negotiate|token)(?:\s|%20))?)"
            r"[^\s\"'][^\"'\n]{0,2048}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    # Words are not secrets: "bearer authentication", "token refresh".
    (
        re.compile(
            r"\b((?:bearer|negotiate|token)(?:\s|%20){1,2})"
            r"(?=[\w~+/.=:-]{0,512}\d|[\w~+/.=:-]{20})[\w~+/.=:-]{6,512}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    # ZooKeeper's scheme, as an ACL and as `addauth digest user:password`.
    (
        re.compile(r"\b(digest[:\s]\s{0,2}(?!sha\d|md5)[\w.@-]{1,64}:)[^\s'\",]{1,256}"),
        rf"\1{REDACTED}",
    ),
    # A JSON Web Token. What a dot has to end is looked at once and as a whole: `-eyJ-eyJ…` would be
    # read anew from each of its parts.
    (
        re.compile(
            r"(?<![\w-])(?=[\w-]{11,}+\.[\w-]{8})([\w-]*?\b)?eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"
            r"|\bxox[abprs]-[\w-]{10,}|\bsk-[\w-]{20,}|\b[sr]k_(?:live|test)_\w{10,}"
            r"|\bhv[sb]\.[\w-]{10,}|\bglpat-[\w-]{10,}|\bAIza[\w-]{30,}|\bnpm_\w{30,}"
            r"|\bpypi-[\w-]{30,}|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bdop_v1_[0-9a-f]{32,}"
            r"|\btskey-[\w-]{8,}|\bSWMTKN-[\w-]{8,}|\bgl(?:rt|dt|ptt|agent)-[\w-]{10,}"
            r"|\bdckr_pat_[\w-]{10,}|\bxapp-[\w-]{10,}|\bshpat_\w{10,}|\bAGE-SECRET-KEY-\w{10,}"
        ),
        REDACTED,
    ),
    # What is called so: all of a list or an object; plain or in quotes.
    (
        re.compile(
            rf"({_PASSWORDS}s?\\{{0,3}}[\"']\s{{0,2}}:\s{{0,2}})(?:\{{[^}}]{{1,1024}}|\[[^\]]{{1,1024}})",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(_NAMED.format(names=_PASSWORDS, roots=SURE_ROOTS), re.IGNORECASE),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(_NAMED.format(names=_KEYS, roots=ROOTS), re.IGNORECASE), rf"\1\2{REDACTED}"),
    (re.compile(r"([\"']auth[\"']\s{0,2}:\s{0,2}[\"'])[^\"']{1,1024}"), rf"\1{REDACTED}"),
    (
        re.compile(r"(<[\w:.-]{0,64}(?:password|secret|token)>)[^<]{1,512}(?=</)", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|$)",
            re.DOTALL,
        ),
        REDACTED,
    ),
)
