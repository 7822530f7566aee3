#!/bin/sh
# Starts nginx in a pod and keeps its routes and certificate up to date with what is known to work.
#
# Owns the folder LIVE, which nginx reads: a copy of each unit (tls, and each fleet's routes) mounted below SOURCE.
# A unit that nginx refuses, or that went missing, leaves the last good copy in place. A change is taken over by a
# reload, which lets the old workers finish their requests. What nginx.conf says is not its business, but for the
# DNS servers. POSIX sh and the image's own tools.
set -u

SOURCE="${GATEWAY_SOURCE:-/etc/gateway}" # nginx.conf, tls/, routes/<fleet>/
LIVE="${GATEWAY_LIVE:-/tmp/gateway}"     # what nginx.conf names
NGINX="${GATEWAY_NGINX:-nginx}"
RESOLV="${GATEWAY_RESOLV:-/etc/resolv.conf}"
PAUSE="${GATEWAY_SECONDS:-5}"
TRIAL="$LIVE.trial"
umask 077

say() { # level, message: one JSON line, as nginx's own log has them
    printf '{"timestamp":"%s","level":"%s","agent_id":"","message":"%s"}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2"
}

# nginx.conf for a folder, with the pod's own DNS servers in place of the name it was rendered with: nginx looks
# that name up when it starts, and a DNS that is away at that moment would keep the gateway from starting.
configure() { # folder
    servers=$(sed -n 's/^nameserver[[:space:]][[:space:]]*\([0-9A-Fa-f.:]*\).*/\1/p' "$RESOLV" 2>/dev/null |
        sed 's/.*:.*:.*/[&]/' | tr '\n' ' ' | sed 's/ *$//')
    sed -e "s#\"$LIVE/#\"$1/#g" -e "${servers:+s#resolver [^ ;]* valid=#resolver $servers valid=#}" \
        "$SOURCE/nginx.conf" > "$1.conf"
}

# Every unit there is or was. tls comes first: nginx can be asked about no route without it.
units() {
    for folder in "$SOURCE"/tls "$SOURCE"/routes/* "$LIVE"/tls "$LIVE"/routes/*; do
        [ -d "$folder" ] || continue
        case $folder in "$SOURCE"/*) echo "${folder#"$SOURCE"/}" ;; *) echo "${folder#"$LIVE"/}" ;; esac
    done | sort -ru
}

# Where a unit's files are: those of a ConfigMap or Secret change together, behind one link.
origin() { if [ -d "$SOURCE/$1/..data" ]; then (cd "$SOURCE/$1/..data" && pwd -P); else echo "$SOURCE/$1"; fi; }

content() { # folder: names and checksums of its files; nothing where there are none
    for file in "$1"/*; do
        if [ -f "$file" ]; then echo "${file##*/} $(cksum < "$file")"; fi
    done
}

state() { for unit in $(units); do echo "$unit"; content "$(origin "$unit")"; done; }
there() { [ -n "$(content "$(origin "$1")")" ]; }
differs() { [ "$(content "$(origin "$1")")" != "$(content "$LIVE/$1")" ]; }
changed() { for unit in $(units); do if there "$unit" && differs "$unit"; then echo "$unit"; fi; done; }

begin() { rm -rf "$TRIAL" && mkdir -p "$TRIAL/routes" && cp -R "$LIVE/." "$TRIAL/"; }

place() { # unit: its files into the trial
    from=$(origin "$1") && rm -rf "${TRIAL:?}/$1" && mkdir -p "$TRIAL/$1" || return 1
    for file in "$from"/*; do
        if [ -f "$file" ]; then cp "$file" "$TRIAL/$1/" || return 1; fi
    done
}

works() { configure "$TRIAL" && refusal=$("$NGINX" -t -q -c "$TRIAL.conf" -e stderr 2>&1); }

keep() { # the trial becomes what nginx reads
    rm -rf "$LIVE.old" && mv "$LIVE" "$LIVE.old" && mv "$TRIAL" "$LIVE" && rm -rf "$LIVE.old"
}

# Takes over what changed: all of it; or all without the fleets that went missing, whose old routes may stand in the
# way of an agent that moved; or else one unit after another, so that one broken fleet harms no other.
adopt() {
    wanted=$(changed)
    [ -n "$wanted" ] && begin || return 1
    for unit in $wanted; do place "$unit" || return 1; done
    if ! works; then
        for unit in $(units); do there "$unit" || rm -rf "${TRIAL:?}/$unit"; done
    fi
    if works; then
        keep && say INFO "Took over $(echo $wanted)"
        return
    fi
    adopted=1
    for unit in $wanted; do
        begin && place "$unit" || continue
        if works && keep; then
            adopted=0
            say INFO "Took over $unit"
        else
            say ERROR "nginx refuses $unit, what worked last stays: $(echo "$refusal" | head -n 1 | tr -d '"\\' | tr '\t' ' ')"
        fi
    done
    return $adopted
}

stop() {
    stopping=1
    kill -QUIT "$nginx" 2>/dev/null
}

# A container that starts again finds what the one before had taken over, unless that was killed in between.
[ -d "$LIVE" ] || [ ! -d "$LIVE.old" ] || mv "$LIVE.old" "$LIVE"
mkdir -p "$LIVE/routes"
seen=$(state)
adopt
configure "$LIVE"
"$NGINX" -c "$LIVE.conf" -e stderr &
nginx=$!
stopping=0
trap stop TERM QUIT INT
while [ $stopping = 0 ] && kill -0 "$nginx" 2>/dev/null; do
    sleep "$PAUSE" &
    wait $!
    now=$(state)
    if [ $stopping = 0 ] && [ "$now" != "$seen" ]; then
        seen=$now
        if adopt; then kill -HUP "$nginx"; fi
    fi
done
# A signal ends a wait, and nginx may still have requests to finish.
while kill -0 "$nginx" 2>/dev/null; do wait "$nginx"; done
wait "$nginx"
