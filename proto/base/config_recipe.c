/* config_recipe.c - a configuration from a file, or from a recipe by its name. */
#include "proto/base/config.h"

#include "proto/base/typed.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A larger file is no configuration. */
enum { FILE_LARGEST = 1 << 20, RECIPE_FOLDERS = 3, RECIPES_SHOWN = 64, RECIPE_LONGEST = 63 };

struct folders {
    char path[RECIPE_FOLDERS][PATH_MAX]; /* "" = none */
};

/* The names of recipes, sorted, without repetition. */
struct recipes {
    char name[RECIPES_SHOWN][RECIPE_LONGEST + 1];
    size_t count;
};

/* DIR of DIR/bin/lstmq, or "". */
static void recipe_prefix(char prefix[PATH_MAX])
{
    ssize_t size = readlink("/proc/self/exe", prefix, PATH_MAX - 1);
    prefix[size < 0 ? 0 : size] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(prefix, '/');
        if (slash != NULL)
            *slash = '\0';
    }
}

static void recipe_folders(struct folders *folders)
{
    memset(folders, 0, sizeof *folders);
    const char *chosen = getenv("LSTMQ_RECIPES");
    if (chosen != NULL && strlen(chosen) < PATH_MAX)
        strcpy(folders->path[0], chosen);
    static const char share[] = "/share/lstmq/recipes";
    recipe_prefix(folders->path[1]);
    if (folders->path[1][0] != '\0' && strlen(folders->path[1]) + sizeof share <= PATH_MAX)
        strcat(folders->path[1], share);
    else
        folders->path[1][0] = '\0';
#ifdef LSTMQ_SOURCE_RECIPES
    snprintf(folders->path[2], PATH_MAX, "%s", LSTMQ_SOURCE_RECIPES);
#endif
}

static bool recipe_is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISDIR(status.st_mode);
}

/* FOLDER/NAME.yaml, or FOLDER/NAME if the name ends in .yaml. */
static bool recipe_find(const struct folders *folders, const char *name, char path[PATH_MAX])
{
    size_t size = strlen(name);
    const char *ending = size > 5 && strcmp(name + size - 5, ".yaml") == 0 ? "" : ".yaml";
    for (int i = 0; i < RECIPE_FOLDERS; i++) {
        if (folders->path[i][0] == '\0')
            continue;
        int length = snprintf(path, PATH_MAX, "%s/%s%s", folders->path[i], name, ending);
        if (length > 0 && length < PATH_MAX && recipe_is_file(path))
            return true;
    }
    return false;
}

static void recipe_add(struct recipes *recipes, const char *name, size_t size)
{
    size_t at = 0;
    int order = 1;
    while (at < recipes->count) {
        order = strncmp(recipes->name[at], name, size);
        if (order == 0)
            order = recipes->name[at][size] != '\0';
        if (order >= 0)
            break;
        at++;
    }
    if ((at < recipes->count && order == 0) || recipes->count == RECIPES_SHOWN || size > RECIPE_LONGEST)
        return;
    memmove(&recipes->name[at + 1], &recipes->name[at], (recipes->count - at) * sizeof recipes->name[0]);
    recipes->count++;
    memcpy(recipes->name[at], name, size);
    recipes->name[at][size] = '\0';
}

static void recipe_list(const struct folders *folders, struct recipes *recipes)
{
    recipes->count = 0;
    for (int i = 0; i < RECIPE_FOLDERS; i++) {
        DIR *folder = folders->path[i][0] == '\0' ? NULL : opendir(folders->path[i]);
        if (folder == NULL)
            continue;
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
            size_t size = strlen(entry->d_name);
            if (size > 5 && strcmp(entry->d_name + size - 5, ".yaml") == 0)
                recipe_add(recipes, entry->d_name, size - 5);
        }
        closedir(folder);
    }
}

static bool recipe_no_recipe(const struct folders *folders, const char *name, struct err *err)
{
    struct recipes recipes;
    char list[ERR_TEXT / 2] = "", question[RECIPE_LONGEST + 32] = "";
    struct suggest suggest = suggest_begin(name);
    recipe_list(folders, &recipes);
    for (size_t i = 0; i < recipes.count; i++) {
        size_t used = strlen(list);
        suggest_offer(&suggest, recipes.name[i], recipes.name[i]);
        snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", recipes.name[i]);
    }
    if (suggest_best(&suggest) != NULL)
        snprintf(question, sizeof question, "; did you mean \"%s\"?", suggest_best(&suggest));
    return err_set(err, ERR_USAGE, "no file and no recipe \"%s\"%s%s %s", typed_show(name).shown, question,
                   question[0] != '\0' ? " Recipes:" : "; recipes:", recipes.count == 0 ? "none found" : list);
}

static bool recipe_read(const char *path, struct buffer *text, struct err *err)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return err_errno(err, ERR_USAGE, "cannot read configuration \"%s\"", typed_show(path).shown);
    char block[4096];
    size_t got;
    while ((got = fread(block, 1, sizeof block, file)) > 0 && text->size <= FILE_LARGEST)
        buffer_append(text, block, got);
    bool ok = !ferror(file) || err_errno(err, ERR_USAGE, "cannot read configuration \"%s\"", typed_show(path).shown);
    fclose(file);
    if (ok && text->size > FILE_LARGEST)
        ok = err_set(err, ERR_USAGE, "configuration \"%s\" is larger than 1 MiB", typed_show(path).shown);
    return ok && buffer_ok(text, err);
}

bool config_load(struct config *config, const char *path, struct config_given *given, struct err *err)
{
    char found[PATH_MAX];
    if (strchr(path, '/') == NULL && !recipe_is_file(path)) {
        struct folders folders;
        recipe_folders(&folders);
        if (!recipe_find(&folders, path, found))
            return recipe_no_recipe(&folders, path, err);
        path = found;
    }
    struct buffer text = {0};
    bool ok = recipe_read(path, &text, err) &&
              config_parse(config, text.size > 0 ? text.data : "", text.size, typed_show(path).shown, given, err);
    buffer_free(&text);
    return ok;
}
