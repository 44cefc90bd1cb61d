// For builds with the sanitisers alone: what OpenVINO does that they would end the program for.
#include <dlfcn.h>

// Its threads load a library in a way (RTLD_DEEPBIND) that the address sanitiser does not bear. The usual way does.
extern "C" void* dlopen(const char* file, int flags) {
    using Loader = void* (*)(const char*, int);
    static const auto next = reinterpret_cast<Loader>(::dlsym(RTLD_NEXT, "dlopen"));
    return next(file, flags & ~RTLD_DEEPBIND);
}

// Its scheduler now and then still holds a few bytes when the program ends.
extern "C" const char* __lsan_default_suppressions() { return "leak:libtbb"; }
extern "C" const char* __lsan_default_options() { return "print_suppressions=0"; }
