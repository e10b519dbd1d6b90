#!/usr/bin/env bash
# Prints every published grade once, one line of JSON each, and stops if one is missing. Needs kcat.
#   KAFKA_BOOTSTRAP=localhost:9092 ./consumer.sh moderation.live-events [-e]      (-e: until the topic's end)
# A replay is a selection, so its numbers have gaps: set GAPS=allowed to read it.
# Exit codes: 1 an event is missing, 2 wrong usage, 3 no broker answers.
set -euo pipefail
if [ $# = 0 ] || [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
    echo "usage: KAFKA_BOOTSTRAP=HOST:PORT ./consumer.sh TOPIC [-e]" >&2
    exit 2
fi
if ! cause=$(kcat -L -q -b "$KAFKA_BOOTSTRAP" -t "$1" -m 10 2>&1 >/dev/null); then
    cause=${cause##*ERROR: }
    cause=${cause%% (Are the brokers*}
    echo "consumer.sh: nothing was read: no Kafka broker answers at KAFKA_BOOTSTRAP=$KAFKA_BOOTSTRAP ($cause)." \
        "Check the address, that Kafka is running and that this machine may connect to it; a secured broker needs" \
        "KCAT_CONFIG. Development stack: run deploy/stack up, then eval \"\$(deploy/stack env)\" and export KAFKA_BOOTSTRAP" >&2
    exit 3
fi
kcat -C -q -u -b "$KAFKA_BOOTSTRAP" -t "$1" -o beginning -X isolation.level=read_committed "${@:2}" -f '%h\t%s\n' |
    awk -F '\t' -v gaps="${GAPS:-refused}" '
        # If a header name occurs twice, the first one is the service'"'"'s.
        function header(name) {
            return match($1, name "=[^,]*") ? substr($1, RSTART + length(name) + 1, RLENGTH - length(name) - 1) : ""
        }
        {
            id = header("ce_id"); shard = header("ce_shard"); sequence = header("ce_sequence") + 0
            if (id in seen) next
            seen[id]
            if (gaps == "refused" && shard in last && sequence != last[shard] + 1) {
                print "shard " shard ": " sequence " came after " last[shard] > "/dev/stderr"
                exit 1
            }
            last[shard] = sequence
            print $2
            fflush()
        }'
