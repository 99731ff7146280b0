#!/bin/sh
# The programs that tests drive and that pip cannot bring: a browser, strace for the count of disk writes, PostgreSQL,
# smtp-sink. Installs them with the system's package manager where that is allowed. Says loudly what is missing; under
# CI that is a failure.
missing=""
have() { # a program in the path, or a pattern of its place
    case "$1" in
        /*) ls $1 >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

need() { # need PROGRAM PACKAGE WHAT-FOR
    have "$1" && return
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "installing $2 ($3) ..."
        [ -n "$updated" ] || { apt-get update -qq; updated=1; }
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1
    fi
    have "$1" || missing="$missing $2"
}

need chromium chromium "browser tests"
need /usr/sbin/smtp-source postfix "tests of SMTP in"
need strace strace "disk tests"
need node nodejs "JavaScript in the docs"
need npm npm "SDKs in JavaScript"
need curl curl "shell in the docs"
need faketime faketime "tests of clocks that are set"
need "/usr/sbin/nginx" nginx-light "tests of deploy/nginx.conf"
# Its smtp-sink is all that is wanted: without a configuration it installs no mail server that runs.
if ! have /usr/sbin/smtp-sink && [ "$(id -u)" = 0 ] && have debconf-set-selections; then
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
fi
need /usr/sbin/smtp-sink postfix "tests of SMTP against another's server"
need "/usr/lib/postgresql/*/bin/initdb" postgresql "tests on PostgreSQL"

if [ -n "$missing" ]; then
    echo "NOT TESTED COMPLETELY: missing$missing. On Debian and Ubuntu: sudo apt-get install$missing" >&2
    if [ "$CI" = true ]; then exit 1; fi
fi
exit 0
