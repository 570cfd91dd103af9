/* roll.c - parse the lines of PEERS; see roll.h. */
#include "worker/cluster/roll.h"

#include "proto/wire/auth/curve.h"

#include <stdlib.h>
#include <string.h>

void roll_free(struct roll *roll)
{
    free(roll->endpoints);
    free(roll->keys);
    free(roll->text);
}

bool roll_read(struct roll *roll, const struct peers *peers, uint32_t size, struct err *err)
{
    *roll = (struct roll){.endpoints = calloc(size, sizeof *roll->endpoints),
                          .keys = calloc(size, sizeof *roll->keys),
                          .text = malloc(peers->size)};
    if (roll->endpoints == NULL || roll->keys == NULL || roll->text == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the names of %u ranks", size);
    memcpy(roll->text, peers->lines, peers->size);
    char *line = roll->text, *end = roll->text + peers->size;
    uint32_t count = 0;
    for (; line < end && count < size; count++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        if (newline == NULL)
            return err_set(err, ERR_PROTOCOL, "PEERS: line %u has no end", count + 1);
        *newline = '\0';
        char *space = strchr(line, ' ');
        if (space != NULL)
            *space = '\0';
        roll->endpoints[count] = line;
        roll->keys[count] = space != NULL ? space + 1 : NULL;
        line = newline + 1;
    }
    if (count != size || line != end)
        return err_set(err, ERR_PROTOCOL, "PEERS: not the lines of %u ranks", size);
    for (uint32_t rank = 0; rank < size; rank++) {
        if ((roll->keys[rank] != NULL) != (roll->keys[0] != NULL))
            return err_set(err, ERR_PROTOCOL, "PEERS: some lines have a key, and line %u is not like the first",
                           rank + 1);
        if (roll->keys[rank] != NULL && !curve_is_key(roll->keys[rank]))
            return err_set(err, ERR_PROTOCOL, "PEERS: line %u: not a key", rank + 1);
    }
    return true;
}
