// For builds with the sanitisers alone: OpenVINO's threads load a library in a way (RTLD_DEEPBIND) that the address
// sanitiser ends the program for. It is loaded in the usual way instead.
#include <dlfcn.h>

extern "C" void* dlopen(const char* file, int flags) {
    using Loader = void* (*)(const char*, int);
    static const auto next = reinterpret_cast<Loader>(::dlsym(RTLD_NEXT, "dlopen"));
    return next(file, flags & ~RTLD_DEEPBIND);
}
