#!/bin/sh
# Run me: sh test.sh
failed=0
check() {
    got=$(sh price.sh "$1")
    if [ "$got" = "$2" ]; then
        echo "ok      $1 apples cost $2"
    else
        echo "FAILED  $1 apples cost $got, not $2"
        failed=1
    fi
}
check 1 25
check 9 225
check 10 200
check 12 240
exit $failed
