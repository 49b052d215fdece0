# Bash completion of lbctl: verbs, options, the servers and balancers of the site that runs, files.
# tests/live/test_completion.py holds the words to lbctl's own parser.

# Lines `POOL/NAME` and `KIND:NAME` of the running site; nothing if there is none within two seconds.
# Only names as a site file may have them: whoever made the socket in this directory may have put
# anything into them, and Bash would take it for part of the command.
_lbctl_names() {
    timeout 2 lbctl "$@" status --json 2>/dev/null | python3 -c '
import json, re, sys
site = json.load(sys.stdin)
found = [f"{pool}/{name}" for pool, each in site["pools"].items() for name in each["servers"]]
for name in [*found, *site["balancers"]]:
    if re.fullmatch("[A-Za-z0-9._:/-]+", name):
        print(name)' 2>/dev/null
}

_lbctl_add() {
    local word
    for word; do
        if [[ $word == "$current"* ]]; then COMPREPLY+=("$word"); fi
    done
}

_lbctl_files() {
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
}

_lbctl_servers() {
    local names
    mapfile -t names < <(_lbctl_names "${control[@]}" | grep / )
    _lbctl_add "${names[@]}"
}

_lbctl_balancers() {
    local names
    mapfile -t names < <(_lbctl_names "${control[@]}" | sed -n "s/^$1://p")
    _lbctl_add "${names[@]}"
}

_lbctl_options() {
    _lbctl_add --control --json --help -h
    case "${words[*]:0:2}" in
        "") _lbctl_add --version ;;
        reload*) _lbctl_add --confirm-within ;;
        events*) _lbctl_add --follow --since ;;
        "explain http" | "explain tcp" | "explain udp" | "explain dns") _lbctl_add --from ;;
    esac
}

_lbctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local words=() control=() i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --control) control=(--control "${COMP_WORDS[++i]}") ;;
            --from | --since | --confirm-within) ((++i)) ;;
            -*) ;;
            *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
    case $previous in
        --control) _lbctl_files; return ;;
        --from | --since | --confirm-within) return ;;
    esac
    if [[ $current == -* ]]; then _lbctl_options; return; fi
    case "${#words[@]} ${words[*]:0:2}" in
        "0 ") _lbctl_add status check plan reload drain ready maint weight explain events ;;
        "1 check" | "1 plan") _lbctl_files ;;
        "1 drain") _lbctl_add site; _lbctl_servers ;;
        "1 ready" | "1 maint" | "1 weight") _lbctl_servers ;;
        "1 explain") _lbctl_add http tcp udp dns subdomains ecmp ;;
        "2 explain http") _lbctl_add GET HEAD POST PUT DELETE OPTIONS PATCH ;;
        "2 explain tcp" | "2 explain udp" | "2 explain subdomains" | "2 explain ecmp")
            _lbctl_balancers "${words[1]}" ;;
        "3 explain dns") _lbctl_add A AAAA CAA CNAME HTTPS MX NS SOA SRV TXT ;;
    esac
}

complete -F _lbctl lbctl
