# bash completion for skiff
_skiff() {
    local IFS=$'\n' line current="${COMP_WORDS[COMP_CWORD]}" candidates=()
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    while read -r line; do
        case "$line" in
            :files) compopt -o filenames 2>/dev/null; candidates+=($(compgen -f -- "$current")) ;;
            :folders) compopt -o filenames 2>/dev/null; candidates+=($(compgen -d -- "$current")) ;;
            ?*) candidates+=("${line%%$'\t'*}") ;;
        esac
    done < <(skiff __complete "${words[@]}" 2>/dev/null)
    # bash breaks words at colons: what stands before the last one is there already
    if [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        local prefix="${current%"${current##*:}"}" index
        for index in "${!candidates[@]}"; do candidates[index]="${candidates[index]#"$prefix"}"; done
    fi
    COMPREPLY=("${candidates[@]}")
}
complete -F _skiff skiff
