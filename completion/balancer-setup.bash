# Bash completion of balancer-setup: verbs, options, directories, groups.
# tests/live/test_completion.py holds the words to its own parser.

_balancer_setup() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local verb= choices= i
    COMPREPLY=()
    case $previous in
        --root)
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            compopt -o filenames 2>/dev/null
            return ;;
        --group) mapfile -t COMPREPLY < <(compgen -g -- "$current"); return ;;
        --timers | --days) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --root | --timers | --days | --group) ((++i)) ;;
            -*) ;;
            *) verb=${COMP_WORDS[i]}; break ;;
        esac
    done
    case $verb in
        "") choices="kernel bfd certificate undo" ;;
        undo) choices="kernel bfd" ;;
    esac
    case "$current $verb" in
        "-"*" bfd") choices="--timers" ;;
        "-"*" certificate") choices="--days --group" ;;
        "-"*" ") choices="--version" ;;
    esac
    if [[ $current == -* ]]; then choices+=" --dry-run --root --help -h"; fi
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}

complete -F _balancer_setup balancer-setup
