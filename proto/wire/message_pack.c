/* message_pack.c - the check before msgpack-c, and the reader and writer of maps. */
#include "proto/wire/message_pack.h"

#include <string.h>

/* A map of a usual message fits, and malloc keeps blocks of this size at hand. */
enum { ZONE_BYTES = 900 };

enum head_kind { HEAD_SCALAR, HEAD_TEXT, HEAD_ARRAY, HEAD_MAP };

/* The head of one object, decoded from its first bytes. */
struct head {
    enum head_kind kind;
    size_t size;      /* bytes of the head itself */
    uint64_t payload; /* bytes of this object after its head */
    uint64_t items;   /* claimed by a container; an item of a map is a key and a value */
    uint64_t objects; /* of this container, still to come */
};

static uint64_t pack_big_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void pack_container(struct head *head, bool map, uint64_t items)
{
    head->kind = map ? HEAD_MAP : HEAD_ARRAY;
    head->items = items;
    head->objects = map ? items * 2 : items;
}

/* Heads of one byte, which hold the kind and the count. False: the byte begins a longer head. */
static bool pack_short_head(uint8_t lead, struct head *head)
{
    *head = (struct head){.size = 1};
    if (lead <= 0x7f || lead >= 0xe0 || lead == 0xc0 || lead == 0xc2 || lead == 0xc3)
        return true;
    if (lead >= 0xc4)
        return false;
    if (lead >= 0xa0) {
        head->payload = lead & 0x1fU;
        head->kind = HEAD_TEXT;
    } else {
        pack_container(head, lead < 0x90, lead & 0x0fU);
    }
    return true;
}

/* Read the head at `bytes`; `left` bytes remain. */
static bool pack_head(const uint8_t *bytes, size_t left, struct head *head, struct err *err)
{
    /* For 0xc4..0xdf: bytes of the length that follows the lead byte, and payload bytes besides that length. */
    static const uint8_t lengths[] = {1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0,
                                      0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    static const uint8_t fixed[] = {0, 0, 0, 1, 1, 1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17};
    uint8_t lead = bytes[0];
    if (lead == 0xc1)
        return err_set(err, ERR_PROTOCOL, "the byte 0xc1 starts no object");
    if (pack_short_head(lead, head))
        return true;
    size_t row = lead - 0xc4U;
    head->size = 1 + (size_t)lengths[row];
    if (head->size > left)
        return err_set(err, ERR_PROTOCOL, "the frame ends inside an object");
    uint64_t length = pack_big_endian(bytes + 1, lengths[row]);
    if (lead >= 0xdc) {
        pack_container(head, lead >= 0xde, length);
    } else {
        head->kind = lead >= 0xd9 ? HEAD_TEXT : HEAD_SCALAR;
        head->payload = length + (row < sizeof fixed ? fixed[row] : 0);
    }
    return true;
}

size_t pack_character(const uint8_t *bytes, size_t size)
{
    uint8_t lead = bytes[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (lead == 0xe0 && bytes[1] < 0xa0) || (lead == 0xf0 && bytes[1] < 0x90);
    bool surrogate = lead == 0xed && bytes[1] > 0x9f;
    bool beyond = lead == 0xf4 && bytes[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

static bool pack_is_utf8(const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        size_t length = pack_character(bytes + at, size - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

/* Rules for a head and its payload; `left` bytes remain after the head. */
static bool pack_head_allowed(const struct head *head, const uint8_t *payload, size_t left, struct err *err)
{
    if (head->payload > left)
        return err_set(err, ERR_PROTOCOL, "the frame ends inside an object");
    if (head->objects > left)
        return err_set(err, ERR_PROTOCOL, "a container claims %llu items, but %zu bytes remain",
                       (unsigned long long)head->items, left);
    if (head->kind == HEAD_MAP && head->items > PACK_FIELDS)
        return err_set(err, ERR_PROTOCOL, "a map of %llu fields is above %d", (unsigned long long)head->items,
                       PACK_FIELDS);
    if (head->kind == HEAD_TEXT && !pack_is_utf8(payload, (size_t)head->payload))
        return err_set(err, ERR_PROTOCOL, "text is not UTF-8");
    return true;
}

/* Walk over all objects in `bytes`. Accept exactly one complete object within the limits. */
static bool pack_guard(const uint8_t *bytes, size_t size, struct err *err)
{
    uint64_t pending[PACK_DEPTH + 1] = {1}; /* objects to come at each level; level 0 is the frame */
    size_t level = 0, at = 0;
    while (pending[level] > 0) {
        if (at == size)
            return err_set(err, ERR_PROTOCOL, "the frame ends before its object does");
        struct head head = {0};
        if (!pack_head(bytes + at, size - at, &head, err))
            return false;
        at += head.size;
        if (!pack_head_allowed(&head, bytes + at, size - at, err))
            return false;
        at += (size_t)head.payload;
        pending[level]--;
        if (head.kind >= HEAD_ARRAY) {
            if (level == PACK_DEPTH)
                return err_set(err, ERR_PROTOCOL, "containers are nested deeper than %d", PACK_DEPTH);
            pending[++level] = head.objects;
        }
        while (level > 0 && pending[level] == 0)
            level--;
    }
    if (at != size)
        return err_set(err, ERR_PROTOCOL, "%zu bytes follow the object", size - at);
    return true;
}

/* msgpack-c gives an empty text a NULL address, which memcmp must not get. */
static bool pack_same_text(const msgpack_object_str *a, const msgpack_object_str *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->ptr, b->ptr, a->size) == 0);
}

/* The keys of every nested map must be text and distinct. The guard has bounded the depth and the number of fields. */
static bool pack_keys_allowed(const msgpack_object *object, struct err *err)
{
    if (object->type == MSGPACK_OBJECT_ARRAY) {
        for (uint32_t i = 0; i < object->via.array.size; i++)
            if (!pack_keys_allowed(&object->via.array.ptr[i], err))
                return false;
        return true;
    }
    if (object->type != MSGPACK_OBJECT_MAP)
        return true;
    const msgpack_object_map *map = &object->via.map;
    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object *key = &map->ptr[i].key;
        if (key->type != MSGPACK_OBJECT_STR)
            return err_set(err, ERR_PROTOCOL, "the key of field %u is not text", i + 1);
        for (uint32_t j = 0; j < i; j++)
            if (pack_same_text(&key->via.str, &map->ptr[j].key.via.str))
                return err_set(err, ERR_PROTOCOL, "field %.*s is repeated",
                               key->via.str.size > 64 ? 64 : (int)key->via.str.size, key->via.str.ptr);
        if (!pack_keys_allowed(&map->ptr[i].val, err))
            return false;
    }
    return true;
}

void pack_open(struct pack_reader *reader, const void *data, size_t size)
{
    size_t end = 0;
    reader->err = (struct err){0};
    reader->next = 0;
    reader->zone = (msgpack_zone){0};
    reader->failed = !pack_guard(data, size, &reader->err);
    if (reader->failed)
        return;
    msgpack_unpack_return result = MSGPACK_UNPACK_NOMEM_ERROR;
    if (msgpack_zone_init(&reader->zone, ZONE_BYTES))
        result = msgpack_unpack(data, size, &end, &reader->zone, &reader->map);
    if (result == MSGPACK_UNPACK_NOMEM_ERROR)
        reader->failed = !err_set(&reader->err, ERR_MEMORY, "out of memory for a map of %zu bytes", size);
    else if (result != MSGPACK_UNPACK_SUCCESS || end != size)
        reader->failed = !err_set(&reader->err, ERR_PROTOCOL, "not one msgpack object");
    else if (reader->map.type != MSGPACK_OBJECT_MAP)
        reader->failed = !err_set(&reader->err, ERR_PROTOCOL, "not a map");
    else
        reader->failed = !pack_keys_allowed(&reader->map, &reader->err);
}

static void pack_fail(struct pack_reader *reader, const char *key, const char *what)
{
    if (!reader->failed)
        err_set(&reader->err, ERR_PROTOCOL, "field %s: %s", key, what);
    reader->failed = true;
}

/* The value of `key`; NULL, with the reader in error, if it is missing. */
static const msgpack_object *pack_value(struct pack_reader *reader, const char *key)
{
    if (reader->failed)
        return NULL;
    const msgpack_object_map *map = &reader->map.via.map;
    size_t size = strlen(key);
    for (uint32_t i = 0; i < map->size; i++) {
        const msgpack_object_kv *pair = &map->ptr[(reader->next + i) % map->size];
        if (pair->key.via.str.size != size || memcmp(pair->key.via.str.ptr, key, size) != 0)
            continue;
        reader->next = (reader->next + i + 1) % map->size;
        return &pair->val;
    }
    pack_fail(reader, key, "missing");
    return NULL;
}

uint64_t pack_uint(struct pack_reader *reader, const char *key)
{
    const msgpack_object *value = pack_value(reader, key);
    if (value == NULL)
        return 0;
    if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        return value->via.u64;
    pack_fail(reader, key, "not an unsigned integer");
    return 0;
}

double pack_real(struct pack_reader *reader, const char *key)
{
    const msgpack_object *value = pack_value(reader, key);
    if (value == NULL)
        return 0;
    switch (value->type) {
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return value->via.f64;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return (double)value->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return (double)value->via.i64;
    default:
        pack_fail(reader, key, "not a number");
        return 0;
    }
}

struct text pack_text(struct pack_reader *reader, const char *key)
{
    const msgpack_object *value = pack_value(reader, key);
    if (value != NULL && value->type == MSGPACK_OBJECT_STR)
        return (struct text){value->via.str.ptr, value->via.str.size};
    if (value != NULL)
        pack_fail(reader, key, "not text");
    return (struct text){"", 0};
}

void pack_version(struct pack_reader *reader, const char *key, uint64_t *major, uint64_t *minor)
{
    *major = *minor = 0;
    const msgpack_object *value = pack_value(reader, key);
    if (value == NULL)
        return;
    const msgpack_object *pair = value->type == MSGPACK_OBJECT_ARRAY ? value->via.array.ptr : NULL;
    if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        *major = value->via.u64;
    } else if (pair != NULL && value->via.array.size == 2 && pair[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
               pair[1].type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        *major = pair[0].via.u64;
        *minor = pair[1].via.u64;
    } else {
        pack_fail(reader, key, "not [major, minor]");
    }
}

bool pack_close(struct pack_reader *reader, struct err *err)
{
    if (reader->zone.chunk_list.head != NULL)
        msgpack_zone_destroy(&reader->zone);
    if (reader->failed && err != NULL)
        *err = reader->err;
    return !reader->failed;
}

static int pack_write(void *out, const char *bytes, size_t size)
{
    buffer_append(out, bytes, size);
    return 0;
}

void pack_begin(msgpack_packer *packer, struct buffer *out, size_t count)
{
    msgpack_packer_init(packer, out, pack_write);
    msgpack_pack_map(packer, count);
}

void pack_put_text(msgpack_packer *packer, struct text text)
{
    msgpack_pack_str(packer, text.size);
    msgpack_pack_str_body(packer, text.data, text.size);
}

void pack_put_key(msgpack_packer *packer, const char *key)
{
    pack_put_text(packer, (struct text){key, strlen(key)});
}
