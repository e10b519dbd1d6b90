#!/usr/bin/env bash
# Prints every published grade once, one line of JSON each, and stops if one is missing. Needs kcat.
#   KAFKA_BOOTSTRAP=localhost:9092 ./consumer.sh moderation.live-events [-e]      (-e: until the topic's end)
# A replay is a selection, so its numbers have gaps: set GAPS=allowed to read it.
# Exit codes: 1 an event is missing, or no such topic or no kcat; 2 wrong usage; 3 Kafka does not answer or refuses.
set -euo pipefail
if [ $# = 0 ] || [ -z "${KAFKA_BOOTSTRAP:-}" ]; then
    echo "usage: KAFKA_BOOTSTRAP=HOST:PORT ./consumer.sh TOPIC [-e]" >&2
    exit 2
fi
fail() {
    echo "consumer.sh: $2" >&2
    exit "$1"
}
command -v kcat >/dev/null || fail 1 "kcat is not installed; nothing was read: apt-get install kcat"
if ! metadata=$(kcat -L -b "$KAFKA_BOOTSTRAP" -t "$1" -m 10 2>&1); then
    # librdkafka logs the cause of a failed connection as "%3|time|FAIL|…]: cause"; kcat's own message is general.
    cause=$(sed -n 's/^%[0-9]|.*|FAIL|.*\]: //p' <<<"$metadata" | tail -n 1)
    case "$metadata" in *'acquire metadata'*) cause=${cause:-no answer within 10 s} ;; esac
    [ -n "$cause" ] || fail 2 "${metadata##*ERROR: }; nothing was read: correct the options or the file of KCAT_CONFIG"
    case "$cause" in
    *SSL* | *SASL* | *uthenticat*) problem="Kafka refuses the connection" ;;
    *) problem="no Kafka broker answers" ;;
    esac
    fail 3 "nothing was read: $problem at KAFKA_BOOTSTRAP=$KAFKA_BOOTSTRAP ($cause). Check the address, that Kafka is running\
 and that this machine may connect to it; a secured broker needs KCAT_CONFIG. Development stack: run deploy/stack up, then\
 eval \"\$(deploy/stack env)\" and export KAFKA_BOOTSTRAP"
fi
case "$metadata" in
*'with 0 partitions: Broker: Unknown topic'*) fail 1 "there is no topic $1; nothing was read. Check its name and prefix" ;;
*'with 0 partitions: Broker:'*) fail 3 "Kafka refuses the topic $1: ${metadata##*with 0 partitions: }; nothing was read" ;;
esac
set +e
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
ended=("${PIPESTATUS[@]}")
[ "${ended[1]}" = 0 ] || exit "${ended[1]}"
[ "${ended[0]}" = 0 ] || fail 3 "kcat ended with ${ended[0]}; later events were not read: run it again"
