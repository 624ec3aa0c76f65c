/* resolve NAME...: what getaddrinfo says of each name, one line each; for programs linked statically with another C library. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct addrinfo wish, *list = 0;
        memset(&wish, 0, sizeof wish);
        wish.ai_socktype = SOCK_STREAM;
        int code = getaddrinfo(argv[i], 0, &wish, &list);
        printf("%s:", argv[i]);
        if (code) printf(" %s", gai_strerror(code));
        for (struct addrinfo *at = list; !code && at; at = at->ai_next) {
            char text[64];
            const void *address = at->ai_family == AF_INET ? (void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr
                                                           : (void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr;
            printf(" %s", inet_ntop(at->ai_family, address, text, sizeof text));
        }
        printf("\n");
        if (list) freeaddrinfo(list);
    }
    return 0;
}
