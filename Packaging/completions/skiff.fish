# fish completion for skiff
function __skiff_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (skiff __complete $words[2..-1] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':folders'
                __fish_complete_directories (commandline -ct)
            case '?*'
                echo $line
        end
    end
end
complete -c skiff -f -a '(__skiff_complete)'
